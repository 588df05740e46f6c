"""Histograms of feature norms."""

import numpy as np

from oodbench.report.figures.norms import apart, norm, norms_of, panel


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


def test_labels_do_not_lie_over_one_another() -> None:
    points = {str(i): (0.1 * i, 0.02 * i) for i in range(6)}
    placed = apart(points, 0.35, 0.1)
    assert placed["0"] == points["0"]
    pairs = [(a, b) for a in placed.values() for b in placed.values() if a is not b]
    assert all(abs(a[0] - b[0]) >= 0.35 or abs(a[1] - b[1]) >= 0.1 - 1e-9 for a, b in pairs)


def test_labels_with_room_stay() -> None:
    points = {"a": (0.0, 0.5), "b": (1.0, 0.5)}
    assert apart(points, 0.2, 0.1) == points
