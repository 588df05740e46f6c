"""Smooth ECE against an integral of its definition, and against other code's values."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from golden import recipe_more
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax

from oodbench.evaluation.metrics.smooth_ece import SMALLEST_WIDTH, residual_series, smooth_ece, smoothed_error

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
GOLDEN = json.loads((Path(__file__).parents[2] / "golden/golden_more.json").read_text())["metrics_more"]["smooth_ece"]


def answers(confidence: Array, correct: NDArray[np.bool_]) -> tuple[Array, Labels]:
    """Log-probabilities of two columns that need not sum to one, 0 the largest; labels that make answers right."""
    return np.log(np.stack([confidence, np.minimum(confidence, 1e-3) / 2], axis=1)), np.where(correct, 0, 1)


def direct(confidence: Array, correct: NDArray[np.bool_], s: float) -> float:
    """The integral of |R_s| as the mean of many points; the kernel as a sum of Gaussians over mirror images."""
    t = (np.arange(10_000) + 0.5) / 10_000
    R = np.zeros(len(t))
    for f, y in zip(confidence, correct, strict=True):
        mirrored = [sign * f + 2 * m for m in range(-5, 6) for sign in (-1, 1)]
        kernel = sum(np.exp(-(((t - x) / s) ** 2) / 2) for x in mirrored) / (s * np.sqrt(2 * np.pi))
        R += kernel * (y - f) / len(confidence)
    return float(np.abs(R).mean())


def direct_at_the_fixed_point(confidence: Array, correct: NDArray[np.bool_]) -> float:
    low, high = SMALLEST_WIDTH, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if direct(confidence, correct, middle) > middle else (low, middle)
    return direct(confidence, correct, high)


images = st.lists(st.tuples(st.floats(0.01, 1), st.booleans()), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(images, st.sampled_from([0.02, 0.1, 0.4, 1.0]))
def test_the_cosine_series_equals_the_integral(images: list[tuple[float, bool]], s: float) -> None:
    confidence, correct = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    series = residual_series(confidence, correct - confidence, range(200))
    assert smoothed_error(series, s) == pytest.approx(direct(confidence, correct, s), abs=1e-5)


@settings(max_examples=5, deadline=None)
@given(images)
def test_the_value_is_the_fixed_point_of_the_integral(images: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    expected = direct_at_the_fixed_point(confidence, correct)
    assert smooth_ece(*answers(confidence, correct)) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(images)
def test_the_mean_gap_is_the_least_value(images: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    assert abs(np.mean(correct - confidence)) - 1e-9 <= smooth_ece(*answers(confidence, correct)) <= 1


@settings(max_examples=30, deadline=None)
@given(images)
def test_the_error_falls_as_the_kernel_widens(images: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    series = residual_series(confidence, correct - confidence, range(300))
    errors = [smoothed_error(series, s) for s in (0.01, 0.03, 0.1, 0.3, 1.0)]
    assert all(wider <= narrower + 1e-9 for narrower, wider in pairwise(errors))


def golden_inputs() -> dict[str, tuple[Array, NDArray[np.bool_]]]:
    logits, labels, _ = recipe_more.metric_inputs()
    log_probs = log_softmax(logits.numpy(), axis=1)
    confidence, correct = np.exp(log_probs.max(1)), log_probs.argmax(1) == labels.numpy()
    ones, right = np.ones(400), np.full(400, True)
    return {
        "metric_inputs_id": (confidence, correct),
        "confidence_0.1_plus_0.8_conf": (0.1 + 0.8 * confidence, correct),
        "all_correct_conf_as_is": (confidence, right),
        "perfect_conf_1_all_correct": (ones, right),
        "conf_1_accuracy_as_is": (ones, correct),
    }


@pytest.mark.parametrize("case", GOLDEN)
def test_values_equal_those_of_other_code(case: str) -> None:
    """Direct integration, and the authors' package, which bisects the width to 2^-10 on a grid."""
    confidence, correct = golden_inputs()[case]
    value = smooth_ece(*answers(confidence, correct))
    assert value == pytest.approx(GOLDEN[case]["smece_direct"], abs=1e-7)
    assert value == pytest.approx(GOLDEN[case]["smece_relplot"], abs=1e-4)
    series = residual_series(confidence, correct - confidence, range(200))
    assert smoothed_error(series, 0.05) == pytest.approx(GOLDEN[case]["smece_at_sigma_0p05_direct"], abs=1e-5)


def test_calibrated_answers_have_a_small_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.3, 1, size=20_000)
    correct = random.random(20_000) < confidence
    assert smooth_ece(*answers(confidence, correct)) < 0.015 < smooth_ece(*answers(confidence**0.7, correct))


def test_residuals_that_cancel_only_from_afar_count() -> None:
    """At .2 all right, at .9 few: the mean gap is 0, and the kernel is too narrow to mix them."""
    confidence = np.repeat([0.2, 0.9], [10, 10])
    correct = np.repeat([True, False, True, False], [9, 1, 2, 8])
    assert abs(np.mean(correct - confidence)) < 1e-12
    assert smooth_ece(*answers(confidence, correct)) > 0.3
