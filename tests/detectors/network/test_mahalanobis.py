"""Mahalanobis distances of all stages equal those of features, and a perturbation by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.network import STD, TEST, TRAIN, image_detector, maps_by_hand, normalised
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from oodbench.detectors.gaussian import mahalanobis
from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import Array, Reference
from oodbench.model import Classifier
from oodbench.outputs import Outputs


def stage_by_hand(model: Classifier, layer: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return maps_by_hand(model, normalised(images))[layer].mean((2, 3)).astype("f4")


def distances_by_hand(model: Classifier, layer: int, images: NDArray[np.uint8]) -> Array:
    """The stored outputs' detector, given a stage's features."""

    def outputs(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> Outputs:
        nothing = np.zeros((len(images), 8))
        features = stage_by_hand(model, layer, images)
        return Outputs(features, nothing.astype("f4"), nothing, np.zeros(len(images)), labels)

    reference = Reference(outputs(TRAIN.images, TRAIN.labels), lambda features: features, None, None)
    return mahalanobis(outputs(images, np.zeros(len(images), int)), reference, ridge=1e-6)


def test_the_last_stage_has_the_distance_of_features(model: Classifier) -> None:
    score = image_detector("mahalanobis_layers", weights=[0, 0, 0, 0, 1])(Network(model), TRAIN)
    np.testing.assert_allclose(score(TEST), distances_by_hand(model, 4, TEST), rtol=2e-3)


def test_distances_are_added_with_their_weights(model: Classifier) -> None:
    each = np.stack([distances_by_hand(model, layer, TEST) for layer in range(5)], 1)
    plain = image_detector("mahalanobis_layers")(Network(model), TRAIN)
    np.testing.assert_allclose(plain(TEST), each.sum(1), rtol=2e-3)
    w = [0.5, 0.1, 0.0, -1.0, 2.0]
    weighted = image_detector("mahalanobis_layers", weights=w)(Network(model), TRAIN)
    np.testing.assert_allclose(weighted(TEST), each @ w, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("layer", [0, 2, 4])
def test_perturbation_brings_an_image_nearer_to_its_class(model: Any, layer: int) -> None:
    eps, w = 0.0005, np.eye(5)[layer].tolist()
    scores = image_detector("mahalanobis_layers", weights=w, eps=eps)(Network(model), TRAIN)(TEST[:8])
    f_train = stage_by_hand(model, layer, TRAIN.images).astype("f8")
    means = np.stack([f_train[TRAIN.labels == k].mean(0) for k in range(8)])
    centred = f_train - means[TRAIN.labels]
    C = centred.T @ centred / len(centred)
    P = torch.from_numpy(np.linalg.inv(C + 1e-6 * np.diag(C).mean() * np.eye(len(C))))
    net = model.backbone
    stages = [lambda x: F.relu(net.bn1(net.conv1(x))), net.layer1, net.layer2, net.layer3, net.layer4][: layer + 1]

    def nearest(x: Tensor) -> Tensor:
        for stage in stages:
            x = stage(x)
        held_out = x.mean((2, 3)).double() - torch.from_numpy(means)
        return ((held_out @ P) * held_out).sum(1).min()

    expected, still = [], []
    for image in normalised(TEST[:8]):
        x = image[None].clone().requires_grad_()
        distance = nearest(x)
        (gradient,) = torch.autograd.grad(distance, x)
        still.append(distance.item())
        expected.append(nearest(x.detach() - eps * gradient.sign() / torch.tensor(STD)[:, None, None]).item())
    np.testing.assert_allclose(scores, expected, rtol=1e-2)
    assert np.mean(np.array(expected) < 0.98 * np.array(still)) > 0.8
