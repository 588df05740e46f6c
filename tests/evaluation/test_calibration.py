"""Calibration errors against their definitions, temperatures against brute force."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from oodbench.evaluation import metrics
from oodbench.evaluation.calibration import (
    METRICS,
    NoTemperatureError,
    adaptive_ece,
    calibration,
    classwise_ece,
    cross_fitted,
    ece,
    halves,
    mce,
    renormalised,
    scores,
    temperature,
)
from oodbench.outputs import Outputs

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
BINS = 15


def answers(confidence: list[float], correct: list[bool]) -> tuple[Array, Labels]:
    """Two classes' log-probabilities, 0 the larger, and labels that make the answers right or wrong."""
    c = np.array(confidence)
    return np.log(np.stack([c, 1 - c], axis=1)), np.where(correct, 0, 1)


def classifier(n: int, classes: int, scale: float, seed: int = 0) -> tuple[Array, Labels]:
    """Logits z, and labels drawn from softmax(z / scale): the best temperature is near scale"""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, classes)) * 2
    labels = (z + random.gumbel(size=z.shape)).argmax(1)
    return z * scale, labels


def outputs(log_probs: Array, labels: Labels) -> Outputs:
    n = len(labels)
    return Outputs(np.zeros((n, 1), np.float32), log_probs.astype(np.float32), log_probs, np.zeros(n), labels)


# ---- errors of calibration

binned = st.lists(st.tuples(st.integers(8, 15).map(lambda i: i / 15) | st.floats(0.51, 1), st.booleans()), min_size=1)
quiet_log_of_0 = pytest.mark.filterwarnings("ignore:divide by zero encountered in log")


@quiet_log_of_0
@given(binned)
def test_mce_is_the_largest_gap_of_a_loop_over_bins(images: list[tuple[float, bool]]) -> None:
    confidence, correct = np.exp(np.log([i[0] for i in images])), np.array([i[1] for i in images])
    gaps = [0.0]
    for b in range(BINS):
        inside = (confidence > b / BINS) & (confidence <= (b + 1) / BINS)
        if inside.any():
            gaps.append(abs(correct[inside].mean() - confidence[inside].mean()))
    assert mce(*answers(list(confidence), list(correct))) == pytest.approx(max(gaps), abs=1e-12)


def adaptive_by_loop(confidence: Array, correct: NDArray[np.bool_]) -> float:
    shared = [correct[confidence == c].mean() for c in confidence]
    ranked = sorted(zip(confidence, shared, strict=True))
    n, total, start = len(ranked), 0.0, 0
    for b in range(BINS):
        size = n // BINS + (b < n % BINS)
        total += abs(sum(right - c for c, right in ranked[start : start + size])) / n
        start += size
    return total


@quiet_log_of_0
@given(binned, st.randoms(use_true_random=False))
def test_adaptive_ece_is_its_loop_and_blind_to_the_order_of_the_images(
    images: list[tuple[float, bool]], random
) -> None:
    log_probs, labels = answers([i[0] for i in images], [i[1] for i in images])
    value = adaptive_ece(log_probs, labels)
    assert value == pytest.approx(adaptive_by_loop(np.exp(log_probs.max(1)), labels == 0), abs=1e-12)
    order = random.sample(range(len(images)), len(images))
    assert adaptive_ece(log_probs[order], labels[order]) == pytest.approx(value, abs=1e-12)


def test_adaptive_ece_by_hand() -> None:
    """30 images, 15 bins of two: the two of a bin cancel, then they do not."""
    confidence = np.repeat(np.linspace(0.6, 0.88, 15), 2) + np.tile([0, 0.001], 15)
    correct = np.tile([True, False], 15)
    expected = np.mean([abs(1 - (a + b)) / 2 for a, b in confidence.reshape(15, 2)])
    assert adaptive_ece(*answers(list(confidence), list(correct))) == pytest.approx(expected)


def test_adaptive_ece_of_equal_bins_is_ece() -> None:
    """One image in the middle of every bin that the larger of two probabilities can be in"""
    confidence = (np.arange(8, 15) + 0.5) / 15
    right = [True, False, True, True, False, True, True]
    assert adaptive_ece(*answers(list(confidence), right)) == pytest.approx(ece(*answers(list(confidence), right)))


def test_classwise_ece_is_a_loop_over_classes_and_bins() -> None:
    z, labels = classifier(400, 5, 2.0)
    log_probs, total = log_softmax(z, axis=1), 0.0
    p = np.exp(log_probs)
    for k in range(5):
        for b in range(BINS):
            inside = (p[:, k] > b / BINS) & (p[:, k] <= (b + 1) / BINS)
            if inside.any():
                total += inside.mean() * abs((labels[inside] == k).mean() - p[inside, k].mean()) / 5
    assert classwise_ece(log_probs, labels) == pytest.approx(total, abs=1e-12)


def test_classwise_ece_of_two_classes_by_hand() -> None:
    """0.9 for class 0, right in 3 of 4: both classes miss by .15"""
    assert classwise_ece(*answers([0.9] * 4, [True, True, True, False])) == pytest.approx(0.15)


def test_mce_is_at_least_ece_and_both_are_the_gap_of_one_bin() -> None:
    log_probs, labels = answers([0.9] * 4, [True, True, False, False])
    assert mce(log_probs, labels) == pytest.approx(0.4)
    assert ece(log_probs, labels) == pytest.approx(0.4)
    assert adaptive_ece(log_probs, labels) == pytest.approx(0.4)


def test_errors_are_small_for_a_calibrated_model_and_large_for_a_sure_one() -> None:
    z, labels = classifier(20_000, 5, 1.0)
    calibrated, sure = scores(log_softmax(z, axis=1), labels), scores(log_softmax(4 * z, axis=1), labels)
    assert calibrated["ece"] < 0.01
    assert calibrated["adaptive_ece"] < 0.015
    assert calibrated["classwise_ece"] < 0.01
    assert all(sure[name] > calibrated[name] + 0.04 for name in METRICS)


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.zeros((0, 3)), np.zeros((2, 3)) - 1])
def test_calibration_metric_refuses_nan_no_image_and_too_few_labels(metric: Callable[..., float], bad: Array) -> None:
    labels = np.zeros(len(bad) + (bad == -1).all(), dtype=np.int64) if len(bad) else np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="log_probs"):
        metric(bad, labels)


# ---- temperature


def nll_at(log_t: float, z: Array, labels: Labels) -> float:
    return metrics.nll(log_softmax(z * np.exp(-log_t), axis=1), labels)


def brute_force(z: Array, labels: Labels, around: float) -> float:
    bounds = np.log(around) - 3, np.log(around) + 3
    found = minimize_scalar(nll_at, bounds=bounds, args=(z, labels), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))


@pytest.mark.parametrize("scale", [0.001, 0.02, 0.157, 1, 1.49, 30, 1000])
def test_temperature_is_the_minimum_that_brute_force_finds(scale: float) -> None:
    z, labels = classifier(1000, 10, scale)
    found = temperature(z, labels)
    assert found == pytest.approx(brute_force(z, labels, scale), rel=1e-5)
    assert found == pytest.approx(scale, rel=0.15)


def test_temperature_of_logits_of_norm_1() -> None:
    """LogitNorm's own: one large logit among small ones, norm 1, float32, 5 % of the labels elsewhere"""
    random = np.random.default_rng(0)
    labels = random.integers(10, size=2000)
    z = 0.05 * random.normal(size=(2000, 10))
    said = np.where(random.random(2000) < 0.05, random.integers(10, size=2000), labels)
    z[np.arange(2000), said] += 0.12 + 0.05 * random.random(2000)
    z = (z / np.linalg.norm(z, axis=1, keepdims=True) * 0.3).astype(np.float32)
    found = temperature(z, labels)
    assert 0.01 < found < 0.1
    assert found == pytest.approx(brute_force(z.astype(np.float64), labels, 0.03), rel=1e-5)
    assert temperature(log_softmax(z.astype(np.float64), axis=1), labels) == pytest.approx(found, rel=1e-9)


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_temperature_goes_with_the_scale_and_not_with_a_constant_of_the_row(scale: float, seed: int) -> None:
    z, labels = classifier(60, 3, 1.0, seed)
    found = temperature(z, labels)
    assert temperature(scale * z, labels) == pytest.approx(scale * found, rel=1e-6)
    shifted = z + np.random.default_rng(seed).normal(size=(60, 1))
    assert temperature(shifted, labels) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.eye(3), [0, 1, 2], "T = 0"),  # all right
        (np.zeros((3, 3)), [0, 1, 2], "T = 0"),  # all tied with the largest
        (np.eye(3), [1, 2, 0], "T = infinity"),  # all wrong
        (np.array([[1, 0.0], [1, 0]]), [0, 1], "T = infinity"),  # right in half of two
        (np.array([[1e-9, 0]] * 3), [0, 0, 1], "outside"),
    ],
)
def test_no_best_temperature_is_said_so(z: Array, labels: list[int], message: str) -> None:
    with pytest.raises(NoTemperatureError, match=message):
        temperature(z, np.array(labels))


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_temperature_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=r"NaN|not finite"):
        temperature(np.array([[0, bad], [1, 0]]), np.array([0, 0]))


# ---- halves and readings


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 100))
def test_halves_share_every_class(labels: list[int], seed: int) -> None:
    y, half = np.array(labels), halves(np.array(labels), seed)
    for k in range(5):
        assert abs((half[y == k] == 0).sum() - (half[y == k] == 1).sum()) <= 1
    assert 0 <= (half == 0).sum() - (half == 1).sum() <= 1
    assert (half == halves(y, seed)).all()


def test_halves_are_drawn_by_the_seed() -> None:
    labels = np.arange(100) % 3
    assert (halves(labels, 0) != halves(labels, 1)).any()


def test_each_half_is_read_with_the_temperature_of_the_other() -> None:
    z, labels = classifier(500, 4, 3.0)
    log_probs, half = log_softmax(z, axis=1), halves(labels, 5)
    scaled, temperatures = cross_fitted(log_probs, labels, 5)
    for h in (0, 1):
        assert temperatures[h] == pytest.approx(temperature(z[half == h], labels[half == h]), rel=1e-9)
        expected = log_softmax(z[half != h] / temperatures[h], axis=1)
        np.testing.assert_allclose(scaled[half != h], expected, rtol=1e-8, atol=1e-10)


def test_a_label_does_not_move_the_probabilities_of_its_own_half() -> None:
    z, labels = classifier(500, 4, 3.0)
    half = halves(labels, 1)
    swapped = labels.copy()
    i, j = np.flatnonzero((half == 0) & (labels == 0))[0], np.flatnonzero((half == 0) & (labels == 1))[0]
    swapped[[i, j]] = 1, 0
    before, after = (temperature(z[half == 1], y[half == 1]) for y in (labels, swapped))
    assert before == after
    assert temperature(z[half == 0], labels[half == 0]) != temperature(z[half == 0], swapped[half == 0])


def test_calibration_of_a_softmax_has_no_second_reading_and_is_mended_by_a_temperature() -> None:
    z, labels = classifier(4000, 10, 0.03)
    found = calibration(outputs(log_softmax(z, axis=1), labels), 0)
    assert found.keys() == {"own", "temperature_scaled"}
    own, scaled = found["own"], found["temperature_scaled"]
    assert own is not None
    assert scaled is not None
    assert own["ece"] > 0.4
    assert scaled["ece"] < 0.04
    assert scaled["nll"] < own["nll"]
    assert scaled["temperatures"] == pytest.approx([0.03, 0.03], rel=0.1)
    assert {type(v) for row in (own, scaled) for v in row.values()} == {float, list}


def test_calibration_of_a_softmax_with_one_more_class_and_of_sigmoids() -> None:
    z, labels = classifier(3000, 4, 2.0)
    abstain = np.full((3000, 1), 1.0)
    with_one_more = log_softmax(np.concatenate([z, abstain], axis=1), axis=1)[:, :4]
    sigmoids = -np.logaddexp(0, -z)
    for log_probs, normal in ((with_one_more, log_softmax(z, axis=1)), (sigmoids, log_softmax(sigmoids, axis=1))):
        found = calibration(outputs(log_probs, labels), 0)
        assert found["own"] == scores(log_probs, labels)
        assert found["normalised"] == pytest.approx(scores(normal, labels))
        np.testing.assert_allclose(np.exp(renormalised(log_probs)).sum(1), 1)
    scaled = calibration(outputs(with_one_more, labels), 0)["temperature_scaled"]
    of_plain_softmax = calibration(outputs(log_softmax(z, axis=1), labels), 0)["temperature_scaled"]
    assert scaled is not None
    assert of_plain_softmax is not None
    assert scaled.pop("temperatures") == pytest.approx(of_plain_softmax.pop("temperatures"))
    assert scaled == pytest.approx(of_plain_softmax)  # the abstain class does not enter


def test_calibration_without_a_mistake_has_no_temperature() -> None:
    log_probs, labels = np.log(np.full((30, 3), 0.1) + 0.7 * np.eye(3).repeat(10, axis=0)), np.arange(3).repeat(10)
    found = calibration(outputs(log_probs, labels), 0)
    assert found["temperature_scaled"] is None
    assert found["own"] == scores(log_probs, labels)


def test_own_numbers_are_those_of_the_metrics() -> None:
    z, labels = classifier(200, 4, 2.0)
    p = log_softmax(z, axis=1)
    assert scores(p, labels)["ece"] == metrics.ece(np.exp(p.max(1)), p.argmax(1) == labels)
    assert scores(p, labels)["brier"] == metrics.brier(p, labels)
