"""AURC and AUGRC against loops over thresholds, other code's values, and the identity with AUROC."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from golden import recipe_more
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from oodbench.evaluation.metrics.selective import augrc, augrc_of_counts, aurc, aurc_of_counts

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
GOLDEN = json.loads((Path(__file__).parents[2] / "golden/golden_more.json").read_text())["metrics_more"]["selective"]


def answers(confidence: Array, correct: NDArray[np.bool_]) -> tuple[Array, Labels]:
    """Log-probabilities of two columns that need not sum to one, 0 the largest; labels that make answers right."""
    return np.log(np.stack([confidence, np.full(len(confidence), 0.01)], axis=1)), np.where(correct, 0, 1)


def by_loop(confidence: Array, correct: NDArray[np.bool_]) -> tuple[float, float]:
    """-> AURC, AUGRC: one threshold after the other, from the largest confidence on"""
    n, points = len(confidence), []
    for t in sorted(set(confidence.tolist()), reverse=True):
        accepted = [right for c, right in zip(confidence, correct, strict=True) if c >= t]
        wrong = len(accepted) - sum(accepted)
        points.append((len(accepted) / n, wrong / len(accepted), wrong / n))
    points.insert(0, (0.0, points[0][1], 0.0))
    areas = [0.0, 0.0]
    for (start, *left), (end, *right) in pairwise(points):
        for i in (0, 1):
            areas[i] += (end - start) * (left[i] + right[i]) / 2
    return areas[0], areas[1]


confidences = st.floats(0.34, 0.999) | st.sampled_from([0.4, 0.5, 0.6, 0.9])
images = st.lists(st.tuples(confidences, st.booleans()), min_size=1, max_size=40)


@given(images)
def test_both_equal_a_loop_over_thresholds(images: list[tuple[float, bool]]) -> None:
    log_probs, labels = answers(np.array([i[0] for i in images]), np.array([i[1] for i in images]))
    expected = by_loop(log_probs.max(1), labels == 0)
    assert (aurc(log_probs, labels), augrc(log_probs, labels)) == pytest.approx(expected, abs=1e-12)


@given(images)
def test_augrc_follows_from_accuracy_and_auroc(images: list[tuple[float, bool]]) -> None:
    confidence, correct = np.array([i[0] for i in images]), np.array([i[1] for i in images])
    log_probs, labels = answers(confidence, correct)
    c = correct.mean()
    a = roc_auc_score(correct, log_probs.max(1)) if 0 < c < 1 else 0.0
    assert augrc(log_probs, labels) == pytest.approx((1 - a) * c * (1 - c) + (1 - c) ** 2 / 2, abs=1e-12)


@given(images, st.randoms(use_true_random=False))
def test_the_order_of_images_changes_nothing(images: list[tuple[float, bool]], random) -> None:
    log_probs, labels = answers(np.array([i[0] for i in images]), np.array([i[1] for i in images]))
    order = random.sample(range(len(images)), len(images))
    for metric in (aurc, augrc):
        assert metric(log_probs[order], labels[order]) == pytest.approx(metric(log_probs, labels), abs=1e-12)


def test_values_equal_those_of_other_code() -> None:
    logits, labels, _ = recipe_more.metric_inputs()
    log_probs = log_softmax(logits.numpy(), axis=1)
    for metric in (aurc, augrc):
        assert metric(log_probs, labels.numpy()) == pytest.approx(GOLDEN["id_only"][metric.__name__], abs=1e-9)


def test_values_of_ties_equal_those_of_other_code() -> None:
    """Confidences rounded to one decimal; 400 images, of which many are tied."""
    logits, labels, _ = recipe_more.metric_inputs()
    log_probs = log_softmax(logits.numpy(), axis=1)
    tied = answers(np.exp(log_probs.max(1)).round(1), log_probs.argmax(1) == labels.numpy())
    for metric in (aurc, augrc):
        expected = GOLDEN["id_only_confidence_rounded_to_1_decimal_ties"][metric.__name__]
        assert metric(*tied) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("correct", "expected"), [(True, (0, 0)), (False, (1, 0.5))])
def test_all_right_and_all_wrong_are_the_ends(correct: bool, expected: tuple[float, float]) -> None:
    some = answers(np.linspace(0.5, 0.9, 7), np.full(7, correct))
    assert (aurc(*some), augrc(*some)) == pytest.approx(expected)


def test_four_images_by_hand() -> None:
    """Right, wrong, right, wrong by confidence: risks 0, 1/2, 1/3, 1/2 at the coverages 1/4, 2/4, 3/4, 1."""
    some = answers(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    assert aurc(*some) == pytest.approx((0 + 1 / 4 + 5 / 12 + 5 / 12) / 4)
    assert augrc(*some) == pytest.approx((0 + 1 / 8 + 1 / 4 + 3 / 8) / 4)


def test_confidences_that_round_to_one_are_told_apart() -> None:
    """log p of -1e-20 and -1e-30; both are 1 as probabilities."""
    log_probs = np.array([[-1e-30, -69.0], [-1e-20, -46.0]])
    assert augrc(log_probs, np.array([0, 1])) < augrc(log_probs, np.array([1, 0]))


@given(images, st.integers(0, 2**32 - 1))
def test_counts_are_repeated_images(images: list[tuple[float, bool]], seed: int) -> None:
    """The surest images may count 0 times, and many images share a confidence."""
    log_probs, labels = answers(np.array([i[0] for i in images]), np.array([i[1] for i in images]))
    counts = np.random.default_rng(seed).poisson(0.7, size=(len(labels), 5))
    counts[0] += counts.sum(0) == 0
    for of_counts, metric in ((aurc_of_counts, aurc), (augrc_of_counts, augrc)):
        values = of_counts(log_probs, labels, counts)
        repeated = [(np.repeat(log_probs, n, axis=0), np.repeat(labels, n)) for n in counts.T]
        assert values == pytest.approx([metric(*each) for each in repeated], abs=1e-12)
