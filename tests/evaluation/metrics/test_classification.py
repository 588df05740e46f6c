"""Accuracy and calibration errors against their definitions and against examples worked by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax

from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS
from oodbench.evaluation.metrics.classification import (
    accuracy,
    adaptive_ece,
    brier,
    classwise_ece,
    confidence_ece,
    ece,
    mce,
    nll,
)

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


# ---- calibration errors

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
def test_adaptive_ece_is_its_loop_in_any_order_of_images(images: list[tuple[float, bool]], random) -> None:
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
    assert adaptive_ece(*answers(list(confidence), right)) == pytest.approx(
        confidence_ece(*answers(list(confidence), right))
    )


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
    assert confidence_ece(log_probs, labels) == pytest.approx(0.4)
    assert adaptive_ece(log_probs, labels) == pytest.approx(0.4)


def test_errors_tell_a_calibrated_model_from_a_sure_one() -> None:
    z, labels = classifier(20_000, 5, 1.0)
    calibrated, sure = (
        {name: metric(log_softmax(scale * z, axis=1), labels) for name, metric in CALIBRATION_METRICS.items()}
        for scale in (1, 4)
    )
    assert calibrated["ece"] < 0.01
    assert calibrated["adaptive_ece"] < 0.015
    assert calibrated["classwise_ece"] < 0.01
    assert all(sure[name] > calibrated[name] + 0.04 for name in CALIBRATION_METRICS)


@pytest.mark.parametrize("metric", CALIBRATION_METRICS.values(), ids=CALIBRATION_METRICS)
@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.zeros((0, 3)), np.zeros((2, 3)) - 1])
def test_nan_no_image_and_too_few_labels_are_refused(metric: Callable[..., float], bad: Array) -> None:
    labels = np.zeros(len(bad) + (bad == -1).all(), dtype=np.int64) if len(bad) else np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="log_probs"):
        metric(bad, labels)


# ---- ECE, accuracy, NLL, Brier


def ece_by_loop(confidence: Array, correct: NDArray[np.bool_], bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if b == 0:
            inside |= confidence == 0
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return float(total)


confidences = st.floats(0, 1) | st.integers(0, BINS).map(lambda i: i / BINS)


@given(st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=60))
def test_ece_equals_the_loop_over_bins(answers: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([a[0] for a in answers]), np.array([a[1] for a in answers])
    assert ece(confidence, correct) == pytest.approx(ece_by_loop(confidence, correct, BINS), abs=1e-12)


def test_ece_worked_example_keeps_confidence_one() -> None:
    confidence, correct = np.array([1.0, 1.0, 0.62, 0.62]), np.array([True, False, True, True])
    assert ece(confidence, correct) == pytest.approx(0.44)  # (1 - 1/2) / 2 + (1 - .62) / 2


def test_ece_puts_confidence_one_into_the_bin_below_it() -> None:
    """Wrong at 1.0 and right at 0.95 share the last bin; with a bin of its own for 1.0 this is .525."""
    assert ece(np.array([1.0, 0.95]), np.array([False, True])) == pytest.approx(0.475)


@pytest.mark.parametrize("i", range(1, BINS))
def test_ece_counts_an_edge_to_the_bin_below_it(i: int) -> None:
    """With one answer on the edge, wrong, and one in the bin below or above it, right: they cancel in one bin only."""
    edge, half = i / BINS, 0.5 / BINS
    gaps = (-edge, 1 - (edge - half)), (-edge, 1 - (edge + half))
    answers = np.array([False, True])
    assert ece(np.array([edge, edge - half]), answers) == pytest.approx(abs(sum(gaps[0])) / 2)
    assert ece(np.array([edge, edge + half]), answers) == pytest.approx(sum(map(abs, gaps[1])) / 2)


@pytest.mark.parametrize("bad", [[np.nan, 0.5], [np.inf, 0.5], []], ids=repr)
def test_ece_refuses_confidences_that_are_not_finite(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="confidences"):
        ece(np.array(bad), np.zeros(len(bad), dtype=bool))


@pytest.mark.parametrize("bad", [-0.1, 1.2, 12.0])
def test_ece_refuses_a_confidence_that_is_no_probability(bad: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ece(np.array([0.5, bad]), np.array([True, True]))


LOG_PROBS = np.log([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.25, 0.5, 0.25], [0.8, 0.1, 0.1]])
LABELS = np.array([0, 2, 0, 1])


def test_accuracy_nll_and_brier_by_hand() -> None:
    assert accuracy(LOG_PROBS, LABELS) == 0.5
    assert nll(LOG_PROBS, LABELS) == pytest.approx(-math.log(0.5 * 0.7 * 0.25 * 0.1) / 4)
    errors = [0.25 + 0.09 + 0.04, 0.01 + 0.04 + 0.09, 0.5625 + 0.25 + 0.0625, 0.64 + 0.81 + 0.01]
    assert brier(LOG_PROBS, LABELS) == pytest.approx(sum(errors) / 4)


def test_brier_goes_from_zero_to_two() -> None:
    certain = np.log(np.array([[1, 1e-300, 1e-300]]))
    assert brier(certain, np.array([0])) == pytest.approx(0)
    assert brier(certain, np.array([1])) == pytest.approx(2)


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 3), min_size=1, max_size=10), st.integers(0, 2))
def test_brier_of_probabilities_is_within_its_range(logits: list[tuple[float, ...]], label: int) -> None:
    z = np.array(logits)
    log_probs = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    before = log_probs.copy()
    assert 0 <= brier(log_probs, np.full(len(z), label)) <= 2 + 1e-12
    assert (log_probs == before).all()


@pytest.mark.parametrize("metric", [accuracy, nll, brier])
@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.array([[-1.0, np.nan, -2.0]] * 2), np.zeros((0, 3))])
def test_probabilities_that_are_nan_or_not_there_are_refused(metric: Callable[..., float], bad: Array) -> None:
    with pytest.raises(ValueError, match=r"log_probs|log probabilities"):
        metric(bad, np.zeros(len(bad), dtype=np.int64))


def test_records_are_in_the_order_of_reports() -> None:
    assert [*ID_METRICS][:4] == ["accuracy", "ece", "nll", "brier"]
    assert [*CALIBRATION_METRICS][:6] == ["ece", "adaptive_ece", "classwise_ece", "mce", "nll", "brier"]


def test_confidence_ece_is_ece_of_the_largest_probability() -> None:
    z, labels = classifier(200, 4, 2.0)
    p = log_softmax(z, axis=1)
    assert confidence_ece(p, labels) == ece(np.exp(p.max(1)), p.argmax(1) == labels)
