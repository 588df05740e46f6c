"""The interface that every image detector keeps. Each file of conf/image_detector is found."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from helpers.config import ROOT, composed, names
from helpers.network import MEAN, NOISE, STD, TEST, TRAIN, classifier, image_detector
from omegaconf import OmegaConf
from scipy.stats import spearmanr

from oodbench.detectors.network import network
from oodbench.detectors.network.network import Network, Scorer
from oodbench.detectors.reference import NotApplicable
from oodbench.evaluation import metrics
from oodbench.model import Classifier

EVERY = names("image_detector")
every_image_detector = pytest.mark.parametrize("name", EVERY)
IMAGES = np.concatenate([TEST, NOISE])


def scorer_or_reason(name: str, model: Classifier) -> Scorer | None:
    """Return the scorer, or None if the detector raises NotApplicable."""
    try:
        return image_detector(name)(Network(model), TRAIN)
    except NotApplicable:
        return None


@every_image_detector
@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_a_finite_score_or_a_reason(name: str, loss: str) -> None:
    if (score := scorer_or_reason(name, classifier(loss, steps=0))) is not None:
        scores = score(IMAGES)
        assert (scores.shape, scores.dtype) == ((120,), np.float64)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("name", "hyperparameters", "says"),
    [
        ("odin", {"temperature": 0}, "temperature is 0"),
        ("odin", {"eps": -1}, "eps is -1"),
        ("gram", {"powers": 0}, "powers is 0"),
        ("gram", {"held_out": 1}, "held_out is 1"),
        ("mahalanobis_layers", {"weights": [1, 1]}, "there are 2 weights; the backbone has 5 stages"),
        ("mahalanobis_layers", {"eps": -1}, "eps is -1"),
        ("mahalanobis_layers", {"ridge": 0}, "ridge is 0"),
        ("mc_dropout", {"passes": 0}, "passes is 0"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], says: str, model: Classifier
) -> None:
    with pytest.raises(ValueError, match=says):
        image_detector(name, **hyperparameters)(Network(model), TRAIN)


@every_image_detector
def test_a_bf16_network_is_scored_in_float32(name: str, model: Classifier) -> None:
    low = Classifier(model.backbone, model.objective, MEAN, STD, torch.bfloat16)
    seen = set()
    hook = model.backbone.conv1.register_forward_hook(lambda *call: seen.add(call[2].dtype))
    try:
        if (score := scorer_or_reason(name, low)) is not None:
            with torch.autocast("cpu", torch.bfloat16):
                scores = score(TEST)
            np.testing.assert_array_equal(scores, image_detector(name)(Network(model), TRAIN)(TEST))
            assert seen == {torch.float32}
    finally:
        hook.remove()


@every_image_detector
def test_the_size_of_batches_changes_nothing(name: str, model: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    if (score := scorer_or_reason(name, model)) is not None:
        whole = score(TEST)
        monkeypatch.setattr(network, "BATCH", 7)
        np.testing.assert_allclose(image_detector(name)(Network(model), TRAIN)(TEST), whole, rtol=1e-3)


@every_image_detector
def test_the_network_is_not_changed(name: str, model: Classifier) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    if (score := scorer_or_reason(name, model)) is not None:
        score(TEST)
    assert all((before[key] == value).all() for key, value in model.state_dict().items())
    assert not model.training


@pytest.mark.parametrize("name", ["odin", "gram", "mahalanobis_layers", "rankfeat"])
def test_resnet18_has_scores_that_differ(name: str, model: Classifier) -> None:
    assert len(np.unique(image_detector(name)(Network(model), TRAIN)(IMAGES))) > 100


@pytest.mark.parametrize("name", ["gram", "mahalanobis_layers"])
def test_noise_scores_higher_than_digits(name: str, model: Classifier) -> None:
    score = image_detector(name)(Network(model), TRAIN)
    assert metrics.auroc(score(TEST), score(NOISE)) > 0.99


@every_image_detector
def test_every_image_detector_composes(name: str) -> None:
    cfg = composed(f"image_detector=[{name}]")
    assert cfg.image_detector == {name: OmegaConf.load(ROOT / f"conf/image_detector/{name}.yaml")}
    assert composed().image_detector == {}
    assert name not in names("detector")


@pytest.mark.gpu
@every_image_detector
def test_a_gpu_scores_as_the_cpu_does(name: str, model: Classifier) -> None:
    """In float32 on both, and in float64 where the detector asks for it."""
    on_gpu = deepcopy(model).cuda()
    cpu, gpu = (scorer_or_reason(name, each) for each in (model, on_gpu))
    assert (cpu is None) == (gpu is None)
    if cpu is not None and gpu is not None:
        assert spearmanr(cpu(IMAGES), gpu(IMAGES)).statistic > 0.99  # a sign of a gradient may be rounding
