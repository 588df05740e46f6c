"""Every detector of conf/detector: its sign, what it must not depend on, hazards; how a run's numbers come together."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.config import composed, names
from helpers.toy import DETECTORS, Problem, blobs, detector, random_problem, tiny
from hydra.utils import instantiate
from scipy.spatial.distance import cdist
from scipy.special import log_softmax, softmax

from oodbench.detectors import reference as reference_module
from oodbench.detectors.gaussian import mahalanobis, relative_mahalanobis
from oodbench.detectors.logits import msp, ood_score
from oodbench.detectors.neighbours import knn
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.detectors.subspace import weak_directions
from oodbench.evaluation import metrics
from oodbench.evaluation.bootstrap import bootstrap_id, bootstrap_ood
from oodbench.evaluation.calibration import calibration
from oodbench.evaluation.evaluate import Detector, evaluate, intervals, report
from oodbench.losses.ce import CrossEntropy
from oodbench.model import head_fn, linear_weights, predict
from oodbench.outputs import Outputs, concatenate

LINEAR = {"vim", "residual", "pnml", "dice", "fdbd", "nci", "gradnorm"}  # their formulas have W and b
RECTIFIED = {"react", "vra", "ash_p", "ash_b", "ash_s", "scale", "lts"}  # their formulas sum and cut what is positive
every_detector = pytest.mark.parametrize("name", DETECTORS)


def random_outputs(n: int = 40, extra: int = 0, seed: int = 0) -> Outputs:
    """Of 4 classes and 6 features, all five fields independent of one another, with columns beyond the classes."""
    random = np.random.default_rng(seed)
    features, logits = random.normal(size=(n, 6)), random.normal(size=(n, 4 + extra)) * 5
    log_probs = log_softmax(random.normal(size=(n, 4)), axis=1)
    labels = random.integers(4, size=n)
    return Outputs(features.astype("f4"), logits.astype("f4"), log_probs, random.normal(size=n), labels)


NOTHING = Reference(random_outputs(), lambda features: features, None, None)


def rows(outputs: Outputs, which: Any) -> Outputs:
    return Outputs(*(array[which] for array in outputs))


def test_all_lists_every_detector() -> None:
    """As `python train.py detector=all` composes it."""
    cfg = composed("detector=all")
    assert sorted(cfg.detector) == sorted(DETECTORS)
    assert len(DETECTORS) >= 31
    for name in DETECTORS:
        assert composed(f"detector=[{name}]").detector == {name: cfg.detector[name]}


@every_detector
def test_what_is_strange_scores_higher(name: str) -> None:
    test, ood, reference = blobs()
    id_scores, ood_scores = detector(name)(test, reference), detector(name)(ood, reference)
    assert id_scores.shape == ood_scores.shape == (200,)
    assert metrics.auroc(id_scores, ood_scores) > 0.8


@every_detector
@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_the_score_unless_it_lacks_the_linear_head_that_it_needs(name: str, loss: str) -> None:
    test, ood, reference = tiny(loss)
    if name in LINEAR and reference.linear is None:
        with pytest.raises(NotApplicable, match="needs a linear head; this loss has none"):
            detector(name)(test, reference)
        return
    images = concatenate([test, ood])
    id_scores, ood_scores = np.split(detector(name)(images, reference), [len(test.labels)])
    assert metrics.auroc(id_scores, ood_scores) > 0.45  # which is no sign the wrong way round; finite, or it raises


@every_detector
def test_the_score_of_an_image_does_not_depend_on_its_neighbours_nor_change_anything(name: str) -> None:
    test, _, reference = blobs()
    before = [array.copy() for array in (*test, *reference.train)]
    together = detector(name)(test, reference)
    assert detector(name)(rows(test, slice(17, 18)), reference)[0] == pytest.approx(together[17], rel=1e-5)
    order = np.random.default_rng(0).permutation(len(together))
    np.testing.assert_allclose(detector(name)(rows(test, order), reference), together[order], rtol=1e-5)
    assert all((a == b).all() for a, b in zip(before, (*test, *reference.train), strict=True))


@every_detector
def test_blocks_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    test, _, reference = blobs()
    whole = detector(name)(test, reference)
    monkeypatch.setattr(reference_module, "BLOCK", 7)
    np.testing.assert_allclose(detector(name)(test, reference), whole, rtol=1e-5)


@pytest.mark.parametrize("name", ["knn", "nnguide", "relation"])
def test_more_images_than_a_block_of_a_comparison_with_the_training_images(name: str) -> None:
    test, _, reference = random_problem(n=1300, signed=True)
    halves = [detector(name)(rows(test, half), reference) for half in (slice(0, 400), slice(400, None))]
    np.testing.assert_allclose(detector(name)(test, reference), np.concatenate(halves), rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "nnguide"])  # which draws its bank
def test_the_order_of_the_training_images_changes_nothing(name: str) -> None:
    test, _, reference = blobs()
    order = np.random.default_rng(0).permutation(len(reference.train.labels))
    shuffled = reference._replace(train=rows(reference.train, order))
    np.testing.assert_allclose(detector(name)(test, shuffled), detector(name)(test, reference), rtol=1e-4)


def test_nnguide_draws_its_bank_by_its_seed_and_takes_k_at_least() -> None:
    test, _, reference = blobs()
    scores = [detector("nnguide", share=0.5, k=20, seed=seed)(test, reference) for seed in (0, 0, 1)]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()
    detector("nnguide", share=0.01, k=20)(test, reference)  # of 4 images


@every_detector
def test_a_column_beyond_the_classes_is_no_part_of_the_score(name: str) -> None:
    """HALO's logits have one for abstaining."""
    with_one, without = random_problem(extra=1, n=120), random_problem(n=120)
    scores = detector(name)(with_one.test, with_one.reference)
    np.testing.assert_allclose(scores, detector(name)(without.test, without.reference), rtol=1e-5)


@every_detector
def test_features_below_0_are_a_reason_where_the_method_takes_a_relu_for_granted(name: str) -> None:
    problem = random_problem(signed=True, n=120)
    if name in RECTIFIED:
        with pytest.raises(NotApplicable, match="ReLU"):
            detector(name)(problem.test, problem.reference)
    else:
        assert np.isfinite(detector(name)(problem.test, problem.reference)).all()


@every_detector
def test_images_without_any_feature_have_a_score(name: str) -> None:
    test, _, reference = blobs()
    test.features[::2] = 0
    reference.train.features[::2] = 0
    assert np.isfinite(detector(name)(test, reference)).all()


@every_detector
def test_features_that_never_fire_are_no_hazard(name: str) -> None:
    test, _, reference = blobs()
    for outputs in (test, reference.train):
        outputs.features[:, :5] = 0
    assert np.isfinite(detector(name)(test, reference)).all()


HELD_OUT = {"kl_matching", "temperature_scaling", "react", "vra"}


@every_detector
def test_held_out_images_are_taken_where_there_are_some_by_those_that_calibrate(name: str) -> None:
    test, _, reference = random_problem(n=150)
    held_out = reference._replace(validation=random_problem(n=150, seed=1).test)
    changed = (detector(name)(test, held_out) != detector(name)(test, reference)).any()
    assert changed == (name in HELD_OUT)


def collapsed(spread: float) -> Problem:
    """20 classes of 64 features within 1e-4 of their means; what is strange lies three times as far from them."""
    random = np.random.default_rng(0)
    means = random.normal(size=(20, 64))

    def outputs(n: int, spread: float) -> Outputs:
        labels = np.arange(n) % 20
        features = (means[labels] + spread * random.normal(size=(n, 64))).astype("f4")
        return Outputs(features, features[:, :20], log_softmax(features[:, :20].astype("f8"), 1), np.zeros(n), labels)

    reference = Reference(outputs(2000, spread), lambda features: features, None, None)
    return Problem(outputs(300, spread), outputs(300, 3 * spread), reference)


@pytest.mark.parametrize("score", [mahalanobis, relative_mahalanobis])
def test_features_that_have_collapsed_onto_their_means_are_told_apart(score: Any) -> None:
    test, ood, reference = collapsed(1e-4)
    id_scores, ood_scores = (score(outputs, reference, ridge=1e-6) for outputs in (test, ood))
    assert metrics.auroc(id_scores, ood_scores) > 0.999
    if score is mahalanobis:
        assert (id_scores > 0).all()
        assert 50 < np.median(id_scores) < 80  # of 64 degrees of freedom


def test_neighbours_that_float32_cannot_tell_apart_are_measured_in_float64() -> None:
    test, _, reference = collapsed(1e-4)
    unit, bank = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (test.features, reference.train.features))
    assert len(np.unique(np.sort(unit @ bank.T, axis=1)[:, -5])) < 20  # products of float32 are all but one value
    q, Q = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (test.features.astype("f8"), reference.train.features.astype("f8"))
    )
    exact = np.sort(cdist(q, Q), axis=1)[:, 4]
    np.testing.assert_allclose(knn(test, reference, k=5), exact, rtol=1e-4)


def test_a_head_whose_rows_sum_to_zero_moves_the_origin_of_vim_no_further_than_its_bias() -> None:
    """Its smallest singular value is rounding, and must not be inverted."""
    problem = random_problem(K=5, D=12, n=100)
    assert problem.reference.linear is not None
    W, b = problem.reference.linear
    W = W - W.mean(0)
    assert np.linalg.norm(np.linalg.pinv(W.astype("f8")) @ b) > 1e4
    origin, _ = weak_directions(problem.reference._replace(linear=(W, b)), 6)
    assert np.linalg.norm(origin) < 10


SATURATED = ["ood_score", "msp", "maxlogit", "energy", "entropy", "gen", "temperature_scaling", "odin_unperturbed"]


@pytest.mark.parametrize("name", SATURATED)
def test_margins_that_tie_in_a_float32_softmax_are_told_apart(name: str) -> None:
    objective = CrossEntropy(1, 2, label_smoothing=0.0)
    with torch.no_grad():
        objective.head.weight.copy_(torch.tensor([[1.0], [0.0]]))
        objective.head.bias.zero_()
    margins = np.array([[18.0], [20.0], [25.0], [30.0]], dtype="f4")
    outputs = predict(objective, torch.from_numpy(margins), np.array([0, 0, 0, 1]))
    assert (softmax(outputs.logits, axis=1)[:, 0] == 1).all()  # in float32: all the same
    assert (np.diff(detector(name)(outputs, NOTHING._replace(train=outputs))) < 0).all()


def test_energy_of_huge_logits_is_finite() -> None:
    outputs = random_outputs()
    outputs.logits[:] = 1e4
    np.testing.assert_allclose(detector("energy")(outputs, NOTHING), -1e4 - np.log(4))


@pytest.mark.parametrize("name", ["she", "openmax"])
def test_a_class_without_a_rightly_called_image_is_of_all_its_images(name: str) -> None:
    test, _, reference = random_problem(n=150)
    train = reference.train
    wrong = (train.labels == 2) & (train.log_probs.argmax(1) == 2)
    without = rows(train, ~wrong)
    assert (without.labels == 2).any()
    assert np.isfinite(detector(name)(test, reference._replace(train=without))).all()
    with pytest.raises(NotApplicable, match="class 2 has none"):
        detector(name)(test, reference._replace(train=rows(train, train.labels != 2)))


def test_a_class_that_nothing_is_called_has_no_template() -> None:
    test, _, reference = random_problem(n=150)
    train = reference.train
    scores = detector("kl_matching")(test, reference._replace(train=rows(train, train.log_probs.argmax(1) != 2)))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("vim", {"dim": 6}, ValueError, "dim is 6 of 6 features"),
        ("residual", {"dim": 0}, ValueError, "dim is 0 of 6 features"),
        ("knn", {"k": 0}, ValueError, "k is 0"),
        ("knn", {"k": 999}, NotApplicable, "needs 999 training images; there are 240"),
        ("nnguide", {"k": 999}, NotApplicable, "needs 999 training images"),
        ("relation", {"threshold": -1}, ValueError, "threshold is -1"),
        ("mahalanobis", {"ridge": 0}, ValueError, "ridge is 0"),
        ("gen", {"M": 0}, ValueError, "M is 0"),
        ("openmax", {"alpha": 0}, ValueError, "alpha is 0"),
        ("react", {"percentile": 101}, ValueError, "percentiles are"),
        ("vra", {"percentile_low": 90, "percentile_high": 10}, ValueError, "the lower one first"),
        ("ash_s", {"percentile": -1}, ValueError, "percentile is -1"),
        ("scale", {"percentile": 101}, ValueError, "percentile is 101"),
        ("dice", {"percentile": 101}, ValueError, "percentile is 101"),
    ],
)
def test_hyperparameters_that_cannot_be_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)


def test_a_temperature_needs_images_that_are_wrong_and_logits_that_say_something() -> None:
    test, _, reference = random_problem()
    train = reference.train
    right = reference._replace(train=train._replace(labels=train.log_probs.argmax(1)))
    with pytest.raises(NotApplicable, match="every calibration image is classified right"):
        detector("temperature_scaling")(test, right)
    wrong = reference._replace(train=train._replace(labels=train.log_probs.argmin(1)))
    with pytest.raises(NotApplicable, match="say nothing of their classes"):
        detector("temperature_scaling")(test, wrong)


def test_features_that_do_not_vary_within_a_class_have_no_distance() -> None:
    test, _, reference = random_problem()
    reference.train.features[:] = reference.train.labels[:, None]
    for name in ("mahalanobis", "relative_mahalanobis", "gmm"):
        with pytest.raises(NotApplicable, match="do not vary within a class"):
            detector(name)(test, reference)


@pytest.mark.parametrize("loss", names("loss"))
def test_a_linear_head_is_what_it_says(loss: str) -> None:
    objective = instantiate(composed("dataset=digits", f"loss={loss}").loss, num_features=6, num_classes=3)
    linear = linear_weights(objective)
    assert (linear is None) == (loss in ("halo", "circle"))
    if linear is not None:
        (W, b), features = linear, np.random.default_rng(0).normal(size=(5, 6)).astype("f4")
        np.testing.assert_allclose(head_fn(objective)(features)[:, :3], features @ W.T + b, rtol=1e-4, atol=1e-6)


def test_evaluate_gives_every_number_of_every_set_and_detector() -> None:
    test, ood = random_outputs(seed=1), {"a": random_outputs(30, seed=2), "b": random_outputs(50, seed=3)}
    detectors: dict[str, Detector] = {"ood_score": ood_score, "msp": msp}
    numbers, resamples = evaluate(test, ood, detectors, NOTHING)
    assert list(numbers) == ["accuracy", "ece", "nll", "brier", "calibration", "ood", "not_applicable"]
    assert numbers["calibration"] == calibration(test, seed=0)
    assert numbers["not_applicable"] == {}
    assert numbers["accuracy"] == np.mean(test.log_probs.argmax(1) == test.labels)
    confidence = np.exp(test.log_probs.max(1))
    assert numbers["ece"] == metrics.ece(confidence, test.log_probs.argmax(1) == test.labels)
    assert {k: list(v) for k, v in numbers["ood"].items()} == {"a": ["ood_score", "msp"], "b": ["ood_score", "msp"]}
    for name, outputs in ood.items():
        for key, value in numbers["ood"][name]["ood_score"].items():
            assert value == metrics.OOD_METRICS[key](test.ood_score, outputs.ood_score)
            assert type(value) is float
    assert set(numbers["ood"]["a"]["msp"]) == {"auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out"}
    found = intervals(numbers, resamples)
    assert found["ood"]["b"]["msp"] == {
        metric: list(bounds)
        for metric, bounds in bootstrap_ood({"msp": msp(test, NOTHING)}, {"msp": msp(ood["b"], NOTHING)})["msp"].items()
    }
    assert {name: tuple(found[name]) for name in metrics.ID_METRICS} == bootstrap_id(test.log_probs, test.labels)
    assert all(values.shape == (1000,) for values in resamples.values())
    assert len(resamples) == 4 + 2 * 2 * 5


def test_evaluate_asks_a_detector_once_for_all_sets() -> None:
    """A detector may take minutes over the training set."""
    asked = []

    def slow(outputs: Outputs, reference: Reference) -> Array:
        asked.append(len(outputs.labels))
        return outputs.ood_score

    evaluate(random_outputs(40), {"a": random_outputs(30), "b": random_outputs(50)}, {"slow": slow}, NOTHING)
    assert asked == [120]


def test_a_detector_that_does_not_apply_leaves_its_reason_and_the_others_numbers() -> None:
    ood = {"svhn": random_outputs(30, seed=2)}
    detectors = {"vim": detector("vim"), "msp": msp, "flat": lambda outputs, reference: np.ones(len(outputs.labels))}
    numbers, _ = evaluate(random_outputs(seed=1), ood, detectors, NOTHING)
    assert list(numbers["ood"]["svhn"]) == ["msp"]
    assert numbers["not_applicable"] == {
        "vim": "needs a linear head; this loss has none",
        "flat": "gives one value for every image",
    }
    assert report(numbers).splitlines()[-2:] == [
        "vim has no numbers: needs a linear head; this loss has none",
        "flat has no numbers: gives one value for every image",
    ]


def test_an_error_names_the_detector() -> None:
    test, _, reference = random_problem()
    with pytest.raises(ValueError, match="detector vim: dim is 6 of 6"):
        evaluate(test, {"svhn": test}, {"vim": detector("vim", dim=6)}, reference)
    with pytest.raises(ValueError, match=r"detector wide: the scores have shape \(120, 4\) for 120 images"):
        evaluate(test, {"svhn": test}, {"wide": lambda outputs, reference: outputs.logits}, reference)


@pytest.mark.parametrize(("spoilt", "says"), [("test", "ID scores"), ("svhn", "OOD scores")])
def test_a_score_that_is_not_a_number_names_the_detector_and_the_set(spoilt: str, says: str) -> None:
    sets = {"test": random_outputs(seed=1), "svhn": random_outputs(seed=2)}
    sets[spoilt].ood_score[3] = np.nan
    with pytest.raises(ValueError, match=f"ood_score on svhn.*{says}.*nan at 3"):
        evaluate(sets["test"], {"svhn": sets["svhn"]}, {"msp": msp, "ood_score": ood_score}, NOTHING)


def test_the_report_names_both_fpr_conventions_and_prints_percent() -> None:
    test, ood = random_outputs(seed=1), {"a_set_with_a_long_name": random_outputs(30, seed=2)}
    numbers, _ = evaluate(test, ood, {"msp": msp}, NOTHING)
    lines = report(numbers).splitlines()
    assert f"accuracy {100 * numbers['accuracy']:.2f} %" in lines[0]
    header, row = lines[-2], lines[-1]
    columns = header.split()[-5:]
    assert columns == list(metrics.OOD_METRICS)
    values = numbers["ood"]["a_set_with_a_long_name"]["msp"]
    assert row.split() == ["a_set_with_a_long_name", "msp", *(f"{100 * values[name]:.2f}" for name in columns)]
    assert len(header) == len(row)


def test_the_head_takes_features_that_a_detector_has_changed() -> None:
    objective = CrossEntropy(3, 2, label_smoothing=0.0)
    features = np.random.default_rng(0).normal(size=(5, 3))
    for dtype in (np.float32, np.float64):
        expected = features @ objective.head.weight.detach().numpy().T + objective.head.bias.detach().numpy()
        np.testing.assert_allclose(head_fn(objective)(features.astype(dtype)), expected, rtol=1e-5)
