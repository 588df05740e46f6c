"""Principal components of features, against a singular value decomposition."""

import numpy as np

from oodbench.report.figures.components import components_of, panel, some_rows


def problem() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    return random.normal(size=(60, 5)) * [5, 3, 1, 1, 1] + labels[:, None], labels


def test_projections_are_those_of_the_svd() -> None:
    features, labels = problem()
    found = components_of(features, labels, {"a": features + 1}, points=60)
    centred = features - features.mean(0)
    _, values, rows = np.linalg.svd(centred)
    assert np.allclose(np.abs(found.ids), np.abs(centred @ rows[:2].T))
    assert np.allclose(found.explained, (np.square(values) / np.square(values).sum())[:2])
    assert np.allclose(found.oods["a"] - found.ids, (found.oods["a"] - found.ids)[0])


def test_centroids_are_means_of_classes() -> None:
    features, labels = problem()
    found = components_of(features, labels, {}, points=60)
    assert found.classes == [0, 1, 2]
    assert np.allclose(found.centroids, [found.ids[labels == k].mean(0) for k in range(3)])


def test_the_origin_is_the_zero_feature() -> None:
    features, labels = problem()
    features[7] = 0
    found = components_of(features, labels, {}, points=60)
    assert np.allclose(found.origin, found.ids[7])


def test_signs_do_not_depend_on_the_solver() -> None:
    features, labels = problem()
    a, b = components_of(features, labels, {}), components_of(features.copy(order="F"), labels, {})
    assert np.allclose(a.ids, b.ids)


def test_one_dimension_has_a_second_axis_of_zeros() -> None:
    found = components_of(np.arange(6.0)[:, None], np.zeros(6, int), {})
    assert (found.ids[:, 1] == 0).all()
    assert found.explained[1] == 0
    assert panel(found, "CE", {}).y.high > panel(found, "CE", {}).y.low


def test_some_rows_are_evenly_spaced() -> None:
    assert some_rows(np.arange(10.0)[:, None], 5)[:, 0].tolist() == [0, 2, 4, 6, 8]
