"""Arrays that no metric can judge are refused, with what is wrong and where."""

import numpy as np
import pytest

from oodbench.evaluation.arrays import checked, checked_log_probs


def test_scores_become_float64() -> None:
    scores = np.array([1, 2.5], dtype=np.float32)
    assert checked("scores", scores).dtype == np.float64
    assert checked("scores", scores).tolist() == [1, 2.5]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([], r"mine have shape \(0,\)"),
        ([[0.0, 1.0]], r"mine have shape \(1, 2\)"),
        ([0, np.nan, 1, np.inf], "mine: 2 of 4 are not finite, the first is nan at 1"),
        ([-np.inf, 0], "mine: 1 of 2 are not finite, the first is -inf at 0"),
    ],
)
def test_scores_that_are_not_finite_or_not_there_are_named(bad: list[float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked("mine", np.array(bad))


def test_log_probabilities_become_float64() -> None:
    log_probs = np.log([[0.9, 0.1], [0.3, 0.7]]).astype(np.float16)
    assert checked_log_probs(log_probs, np.array([0, 1])).dtype == np.float64


def test_log_probabilities_pass_as_they_are() -> None:
    log_probs = np.array([[0.0, -np.inf], [-1.0, -2.0]])  # a probability may be 0
    assert checked_log_probs(log_probs, np.array([0, 1])) is log_probs


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (np.zeros((0, 3)), r"shape \(0, 3\) with 0 labels"),
        (np.zeros(3), r"shape \(3,\) with 3 labels"),
        (np.array([[0.0, 1.0], [np.nan, 0.0]]), "of 1 of 2 images are NaN or infinite, the first of image 1"),
        (
            np.array([[np.inf, 0.0], [0.0, -np.inf]]),
            "of 1 of 2 images are NaN or infinite, the first of image 0",
        ),
    ],
)
def test_log_probabilities_that_are_none_are_named(bad: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        checked_log_probs(bad, np.zeros(len(bad), dtype=np.int64))


def test_every_image_needs_a_label() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 3\) with 1 labels"):
        checked_log_probs(np.zeros((2, 3)), np.zeros(1, dtype=np.int64))
