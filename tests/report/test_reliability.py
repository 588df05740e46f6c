"""Reliability diagrams: the bins are those of ECE."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oodbench.evaluation.metrics import confidence_ece
from oodbench.report.figures.reliability import panel, reliability_of


@given(st.integers(0, 10_000), st.integers(1, 80))
def test_the_bins_give_ece(seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    log_probs = np.log(random.dirichlet(np.ones(5), n))
    labels = random.integers(5, size=n)
    assert np.isclose(reliability_of(log_probs, labels).ece, confidence_ece(log_probs, labels))


def test_bins_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    found = reliability_of(np.log(p), np.array([0, 1, 1]), bins=2)
    assert found.images.tolist() == [0, 3]
    assert np.allclose(found.confidence, [0, 0.8])
    assert np.allclose(found.accuracy, [0, 2 / 3])


def test_bins_without_images_are_not_drawn() -> None:
    found = reliability_of(np.log([[0.9, 0.1]]), np.array([0]))
    assert len(panel(found, "", "").marks[0].left) == 1  # type: ignore[union-attr]
