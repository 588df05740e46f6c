"""Gram matrices equal plain loops and the ones of pytorch-ood."""

import numpy as np
import pytest
import pytorch_ood.detector as peers
import torch
from helpers.network import NOISE, TEST, TRAIN, image_detector, maps_by_hand, normalised
from numpy.typing import NDArray
from torch import Tensor

from oodbench.data.split import balanced_subset
from oodbench.detectors.network.gram import draw_held_out, row_sums
from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import Array, NotApplicable
from oodbench.model import Classifier


def gram_by_hand(model: Classifier, images: NDArray[np.uint8], powers: int, held_out: NDArray[np.bool_]) -> Array:
    def statistics(x: Tensor) -> tuple[list[Array], Array, Array]:
        maps = maps_by_hand(model, x)
        layers = []
        for m in maps:
            B, C = m.shape[:2]
            g = np.zeros((B, powers, C))
            for b in range(B):
                for p in range(1, powers + 1):
                    F_p = m[b].reshape(C, -1) ** p
                    g[b, p - 1] = (F_p @ F_p.T).sum(1) ** (1 / p)
            layers.append(g)
        with torch.no_grad():
            z = model.objective.logits(torch.from_numpy(maps[-1].mean((2, 3))).float())
        p = z.double().softmax(1).numpy()
        return layers, p.argmax(1), p.max(1)

    train, _, _ = statistics(normalised(TRAIN.images))

    def deviations(x: Tensor) -> Array:
        layers, predicted, confidence = statistics(x)
        d = np.zeros((len(x), len(layers)))
        for i, k in enumerate(predicted):
            inside = ~held_out & (TRAIN.labels == k)
            for layer, (g, g_train) in enumerate(zip(layers, train, strict=True)):
                low, high = g_train[inside].min(0), g_train[inside].max(0)
                for value, low_value, high_value in zip(g[i].ravel(), low.ravel(), high.ravel(), strict=True):
                    if value < low_value:
                        d[i, layer] += (low_value - value) / (low_value + 1e-6)
                    if value > high_value:
                        d[i, layer] += (value - high_value) / (high_value + 1e-6)
            d[i] /= confidence[i]
        return d

    expected = deviations(normalised(TRAIN.images[held_out])).mean(0)
    return (deviations(normalised(images)) / (expected + 1e-6)).sum(1)


def test_scores_equal_those_of_plain_loops(model: Classifier) -> None:
    held_out = draw_held_out(TRAIN.labels, 0.1, 0)
    assert np.bincount(TRAIN.labels[held_out]).tolist() == [3] * 8
    images = np.concatenate([TEST[:15], NOISE[:5]])
    scores = image_detector("gram")(Network(model), TRAIN)(images)
    np.testing.assert_allclose(scores, gram_by_hand(model, images, 5, held_out), rtol=2e-3)


def test_row_sums_of_gram_matrices_of_signed_maps() -> None:
    maps = torch.randn(3, 5, 4, 2, generator=torch.Generator().manual_seed(0))
    X = maps.double().flatten(2)
    sums = [(X**p @ (X**p).mT).sum(2) for p in (1, 2, 3)]
    expected = torch.stack([s.sign() * s.abs() ** (1 / p) for p, s in enumerate(sums, 1)], 1)
    torch.testing.assert_close(row_sums(maps, 3), expected, rtol=1e-4, atol=1e-4)
    peer = torch.stack([peers.Gram._gram_vector(maps.double(), p) for p in (1, 2, 3)], 1)
    torch.testing.assert_close(expected, peer)


def test_a_share_that_holds_out_no_image_is_a_reason(model: Classifier) -> None:
    with pytest.raises(NotApplicable, match=r"a share of 0.1 of the training images of each class is no image"):
        image_detector("gram")(Network(model), balanced_subset(TRAIN, 40, 8))


def test_probabilities_need_not_sum_to_one(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """An abstain class takes a share of each image's probability; the confidence is the largest of what is left."""
    expected = image_detector("gram")(Network(model), TRAIN)(TEST[:15])
    log_probs = model.objective.log_probs
    network = Network(model)
    monkeypatch.setattr(network.objective, "log_probs", lambda logits: log_probs(logits) - logits[:, :1].sigmoid())
    np.testing.assert_allclose(image_detector("gram")(network, TRAIN)(TEST[:15]), expected, rtol=1e-6)
