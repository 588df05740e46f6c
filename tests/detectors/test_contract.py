"""The interface that every detector keeps. Each file of conf/detector is found; a new one needs no line here."""

from typing import Any

import numpy as np
import pytest
from helpers.config import composed, names
from helpers.toy import DETECTORS, blobs, detector, random_problem, rows, under_loss
from omegaconf import OmegaConf

from oodbench.cli.configuration import CONF
from oodbench.detectors import reference as reference_module
from oodbench.detectors.reference import Array, NotApplicable
from oodbench.evaluation.evaluate import Detector
from oodbench.evaluation.metrics import auroc
from oodbench.outputs import Outputs, concatenate

every_detector = pytest.mark.parametrize("name", DETECTORS)
WITHOUT_SEED = [name for name in DETECTORS if "seed" not in OmegaConf.load(CONF / f"detector/{name}.yaml")]


def finite_scores(score: Detector, *arguments: Any) -> Array:
    """Return the scores, checked."""
    scores = score(*arguments)
    assert scores.shape == arguments[0].labels.shape
    assert np.isfinite(scores).all()
    return scores


def scores_or_reason(score: Detector, *arguments: Any) -> Array | None:
    """Return finite scores, or None if the detector raises NotApplicable."""
    try:
        return finite_scores(score, *arguments)
    except NotApplicable:
        return None


def test_all_is_every_file_of_conf_detector() -> None:
    everything = {name: OmegaConf.load(CONF / f"detector/{name}.yaml") for name in DETECTORS}
    assert composed("detector=all").detector == everything
    assert composed("detector=[all]").detector == everything
    assert composed(f"detector=[{','.join(DETECTORS)}]").detector == everything


@every_detector
def test_ood_images_score_higher(name: str) -> None:
    test, ood, reference = blobs()
    id_scores, ood_scores = (finite_scores(detector(name), outputs, reference) for outputs in (test, ood))
    assert id_scores.dtype == np.float64
    assert auroc(id_scores, ood_scores) > 0.5  # the sign; blobs and noise are far apart


@every_detector
@pytest.mark.parametrize("shift", [-2, -20])  # the largest logit is below 0 in OOD images, or in all
def test_negative_logits_leave_the_order_or_have_a_reason(name: str, shift: float) -> None:
    test, ood, reference = (under_shifted_head(part, shift) for part in blobs())
    found = [scores_or_reason(detector(name), outputs, reference) for outputs in (test, ood)]
    refuses = shift == -20 and name in ("lts", "nnguide", "openmax", "vim")
    assert [scores is None for scores in found] == [refuses] * 2
    assert refuses or auroc(*found) > 0.5


@pytest.mark.parametrize("name", ["lts", "openmax"])
def test_logits_that_are_minus_distances_are_refused(name: str) -> None:
    test, _, reference = under_loss("isomax")
    with pytest.raises(NotApplicable, match="takes large logits as positive"):
        detector(name)(test, reference)
    test, _, reference = under_loss("ce")
    finite_scores(detector(name), test, reference)


def under_shifted_head(part: Any, shift: float) -> Any:
    """Outputs, or a reference, whose logits are all larger by `shift`; no probability changes"""
    if isinstance(part, Outputs):
        return part._replace(logits=part.logits + np.float32(shift))
    W, b = part.linear
    return part._replace(
        train=under_shifted_head(part.train, shift),
        head=lambda features: part.head(features) + np.float32(shift),
        linear=(W, b + np.float32(shift)),
    )


@every_detector
@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_a_score_or_a_reason(name: str, loss: str) -> None:
    test, ood, reference = under_loss(loss)
    scores_or_reason(detector(name), concatenate([test, ood]), reference)


@every_detector
def test_an_image_scores_the_same_in_any_company(name: str) -> None:
    test, _, reference = blobs()
    together = finite_scores(detector(name), test, reference)
    alone = detector(name)(rows(test, slice(17, 18)), reference)
    assert alone[0] == pytest.approx(together[17], rel=1e-5)
    order = np.random.default_rng(0).permutation(len(together))
    np.testing.assert_allclose(detector(name)(rows(test, order), reference), together[order], rtol=1e-5)


@every_detector
def test_the_outputs_are_not_changed(name: str) -> None:
    test, _, reference = blobs()
    before = [array.copy() for array in (*test, *reference.train)]
    finite_scores(detector(name), test, reference)
    assert all((a == b).all() for a, b in zip(before, (*test, *reference.train), strict=True))


@every_detector
def test_the_size_of_blocks_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    test, _, reference = blobs()
    whole = finite_scores(detector(name), test, reference)
    monkeypatch.setattr(reference_module, "BLOCK", 7)
    np.testing.assert_allclose(detector(name)(test, reference), whole, rtol=1e-5)


@pytest.mark.parametrize("name", WITHOUT_SEED)
def test_the_order_of_training_images_changes_nothing(name: str) -> None:
    test, _, reference = blobs()
    order = np.random.default_rng(0).permutation(len(reference.train.labels))
    shuffled = reference._replace(train=rows(reference.train, order))
    scores = finite_scores(detector(name), test, reference)
    np.testing.assert_allclose(detector(name)(test, shuffled), scores, rtol=1e-4)


@every_detector
def test_logits_beyond_the_classes_do_not_count(name: str) -> None:
    with_extra, without = random_problem(extra=1, n=120), random_problem(n=120)
    scores = finite_scores(detector(name), without.test, without.reference)
    np.testing.assert_allclose(detector(name)(with_extra.test, with_extra.reference), scores, rtol=1e-5)


@pytest.mark.parametrize("name", sorted({*DETECTORS} - {"msp"}))  # which is of the predictive probabilities as they are
def test_probabilities_need_not_sum_to_one(name: str) -> None:
    """As with an abstain class, a share of each image's probability is on no class; it says nothing of the others."""
    test, _, reference = random_problem(n=120)
    expected = finite_scores(detector(name), test, reference)

    def less(outputs: Outputs, seed: int) -> Outputs:
        on_none = np.random.default_rng(seed).uniform(0, 3, size=(len(outputs.labels), 1))
        return outputs._replace(log_probs=outputs.log_probs - on_none)

    found = detector(name)(less(test, 0), reference._replace(train=less(reference.train, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize(
    ("name", "hyperparameter"),
    [
        ("energy", "temperature"),
        ("odin_unperturbed", "temperature"),
        ("gradnorm", "temperature"),
        ("gen", "gamma"),
        ("relation", "power"),
        ("gmm", "ridge"),
    ],
)
def test_hyperparameters_that_must_be_positive_are_named(name: str, hyperparameter: str, value: float) -> None:
    test, _, reference = blobs()
    with pytest.raises(ValueError, match=f"{hyperparameter} is {value}; it must be positive"):
        detector(name, **{hyperparameter: value})(test, reference)


@every_detector
def test_negative_features_have_a_score_or_a_reason(name: str) -> None:
    problem = random_problem(signed=True, n=120)
    scores_or_reason(detector(name), problem.test, problem.reference)


@every_detector
def test_an_unknown_head_is_a_reason_at_most(name: str) -> None:
    test, _, reference = random_problem(n=120)
    scores_or_reason(detector(name), test, reference._replace(head=None, linear=None))


@every_detector
def test_images_without_any_feature_have_a_score(name: str) -> None:
    test, _, reference = blobs()
    test.features[::2] = 0
    reference.train.features[::2] = 0
    finite_scores(detector(name), test, reference)


@every_detector
def test_features_that_are_always_0_do_no_harm(name: str) -> None:
    test, _, reference = blobs()
    for outputs in (test, reference.train):
        outputs.features[:, :5] = 0
    finite_scores(detector(name), test, reference)
