"""The trained classifier as a detector of images sees it: batches, maps, head, and the step along a gradient."""

import numpy as np
import pytest
import torch
from helpers.config import names
from helpers.network import STD, TEST, classifier, maps_by_hand, normalised
from torch import nn

from oodbench.detectors.network import network as module
from oodbench.detectors.network.network import Network
from oodbench.detectors.reference import NotApplicable
from oodbench.model import Classifier

X = normalised(TEST[:5])


def test_batches_are_normalised_images_without_gradients(model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 7)
    with torch.autocast("cpu", torch.bfloat16):
        batches = list(Network(model).map_batches(TEST[:10], lambda x: (x, torch.is_autocast_enabled("cpu"))))
    assert [(len(x), autocast, x.requires_grad) for x, autocast in batches] == [(7, False, False), (3, False, False)]
    torch.testing.assert_close(torch.cat([x for x, _ in batches]), normalised(TEST[:10]))


def test_a_scorer_has_a_float64_number_for_every_image(model: Classifier) -> None:
    scores = Network(model).scorer(lambda x: x.amax((1, 2, 3)))(TEST)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, normalised(TEST).amax((1, 2, 3)).numpy())


def test_maps_are_those_of_the_stages(model: Classifier) -> None:
    network, expected = Network(model), maps_by_hand(model, X)
    with torch.no_grad():
        for ours, theirs in zip(network.maps(X), expected, strict=True):
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)
        assert len(network.maps(X, 2)) == 2
        torch.testing.assert_close(network.pool(network.maps(X)[-1]), network.features(X))


def test_a_backbone_without_stages_is_not_applicable(model: Classifier) -> None:
    plain = Classifier(nn.Flatten(), model.objective, [0.5] * 3, STD, torch.float32)
    with pytest.raises(NotApplicable, match="needs feature maps"):
        Network(plain).staged()


@pytest.mark.parametrize("loss", names("loss"))
def test_class_logits_have_no_further_columns(loss: str) -> None:
    network = Network(classifier(loss, steps=0))
    with torch.no_grad():
        features = network.features(X)
        all_logits = network.objective.logits(features)
        assert torch.equal(network.class_logits(features), all_logits[:, :8])
        assert network.log_probs(features).dtype == torch.float64
        torch.testing.assert_close(network.log_probs(features), network.objective.log_probs(all_logits.double()))


def test_every_pixel_moves_by_eps_before_normalisation(model: Classifier) -> None:
    network = Network(model)
    perturbed = network.perturb(X, lambda x: network.features(x).sum(1), 0.01)
    step = ((perturbed - X) * torch.tensor(STD)[:, None, None]).abs()
    assert step.max() == pytest.approx(0.01, rel=1e-3)
    assert step.median() == pytest.approx(0.01, rel=1e-3)


def test_without_eps_no_gradient_is_computed(model: Classifier) -> None:
    assert Network(model).perturb(X, lambda x: pytest.fail("scored"), 0) is X
