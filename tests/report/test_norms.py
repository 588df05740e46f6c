"""Histograms of feature norms."""

import numpy as np

from oodbench.report.figures.norms import norm, norms_of, panel


def test_norm_is_euclidean() -> None:
    assert norm(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist() == [5, 0]


def test_every_image_is_counted_once() -> None:
    random = np.random.default_rng(0)
    found = norms_of(random.normal(size=(50, 3)), {"a": 9 * random.normal(size=(20, 3))})
    assert found.ids.sum() == 50
    assert found.oods["a"].sum() == 20


def test_counts_are_those_of_the_bins() -> None:
    ids = np.linspace(0, 1, 1001)[:, None]
    found = norms_of(ids, {}, bins=4)
    edges = np.linspace(found.low, found.high, 5)
    assert found.ids[1] == ((ids[:, 0] > edges[1]) & (ids[:, 0] <= edges[2])).sum()


def test_equal_norms_can_be_drawn() -> None:
    found = norms_of(np.ones((4, 2)), {"a": np.ones((3, 2))})
    assert panel(found, "CE", {"a": "near"}).x.high > found.low
