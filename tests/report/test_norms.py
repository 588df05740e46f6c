"""Histograms of feature norms."""

from itertools import pairwise

import numpy as np

from oodbench.report.figures.norms import norm, norms_of, panel
from oodbench.report.plot import Label, Steps


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
    assert panel(found, "CE", {"a": ("A", "near")}).x.high > found.low


def test_every_set_has_a_row_and_no_row_meets_another() -> None:
    random = np.random.default_rng(0)
    found = norms_of(random.normal(size=(50, 3)), {name: random.normal(size=(20, 3)) for name in "abc"})
    drawn = panel(found, "CE", {name: (name.upper(), "far") for name in "cba"})
    rows = [mark for mark in drawn.marks if isinstance(mark, Steps) and mark.outlined]
    labels = [mark for mark in drawn.marks if isinstance(mark, Label)]
    assert [label.text for label in labels] == ["A", "B", "C"]  # from the bottom
    for i, (low, high) in enumerate(pairwise([*(row.base for row in rows), drawn.y.high])):
        assert low + max(rows[i].heights) < high
        assert low < labels[i].y < high
