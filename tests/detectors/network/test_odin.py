"""ODIN equals its definition and the one of pytorch-ood."""

import numpy as np
import pytest
import pytorch_ood.detector as peers
import torch
from helpers.config import names
from helpers.network import STD, TEST, TRAIN, classifier, image_detector, normalised, order_agreement
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import Array
from oodbench.model import Classifier


def odin_by_hand(model: Classifier, x: Tensor, T: float, eps: float) -> Array:
    scores = []
    for image in x:  # one at a time
        pixels = image[None].clone().requires_grad_()
        z = model.objective.logits(model.backbone(pixels))[:, :8] / T
        F.cross_entropy(z, z.argmax(1)).backward()
        assert pixels.grad is not None
        perturbed = torch.stack([pixels[0, c] - eps / STD[c] * pixels.grad[0, c].sign() for c in range(3)])
        p = (model.objective.logits(model.backbone(perturbed[None]))[:, :8].double() / T).softmax(1).max()
        scores.append(float((torch.log1p(-p) - torch.log(p)).detach()))
    return np.array(scores)


@pytest.mark.parametrize("loss", names("loss"))
def test_scores_equal_a_step_of_eps_by_hand(loss: str) -> None:
    model = classifier(loss, steps=0)
    score = image_detector("odin", temperature=10, eps=0.01)(Network(model), TRAIN)
    expected = odin_by_hand(model, normalised(TEST[:20]), 10, 0.01)
    np.testing.assert_allclose(score(TEST[:20]), expected, rtol=1e-3)


def test_the_step_lowers_the_score(model: Classifier) -> None:
    with_step, without = (
        image_detector("odin", temperature=10, eps=eps)(Network(model), TRAIN)(TEST) for eps in (0.01, 0.0)
    )
    expected = odin_by_hand(model, normalised(TEST[:20]), 10, 0.01)
    np.testing.assert_allclose(with_step[:20], expected, rtol=1e-3)
    assert (with_step < without).mean() > 0.9


def test_the_order_is_that_of_pytorch_ood(model: Classifier) -> None:
    whole = nn.Sequential(model.backbone, model.objective.head)  # type: ignore[arg-type]
    peer = peers.ODIN(whole.eval(), eps=0.0014, temperature=1000, norm_std=STD)
    with torch.inference_mode(False):
        theirs = peer.predict(normalised(TEST)).detach().numpy()
    ours = image_detector("odin")(Network(model), TRAIN)(TEST)
    assert order_agreement(ours, theirs) > 0.999
