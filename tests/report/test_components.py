"""Principal components of features, against a singular value decomposition."""

import numpy as np
import pytest

from oodbench.report.figures.components import components_of, panel, rounded, some_rows


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


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1, 1e12, 1e30])
def test_coordinates_are_rounded_to_what_a_figure_shows(scale: float) -> None:
    """So a last bit, in which processors differ, does not reach the file."""
    features, labels = problem()
    exact = components_of(scale * features, labels, {"a": scale * features + scale})
    moved = exact._replace(ids=exact.ids * (1 + 1e-13), explained=(exact.explained[0] + 1e-15, exact.explained[1]))
    found, step = rounded(exact), 1e-4 * np.abs(exact.ids).max()
    assert rounded(moved).ids.tolist() == found.ids.tolist()
    assert rounded(moved).explained == found.explained
    for a, b in ((found.ids, exact.ids), (found.oods["a"], exact.oods["a"]), (found.origin, exact.origin)):
        assert np.abs(a - b).max() <= step / 2 * (1 + 1e-9)
    steps = found.ids / 10 ** np.floor(np.log10(step))
    assert np.allclose(steps, steps.round(), rtol=1e-9, atol=0)


def test_features_that_are_all_alike_can_be_rounded() -> None:
    found = rounded(components_of(np.full((6, 3), 4.0), np.zeros(6, int), {}))
    assert (found.ids == 0).all()
    assert np.isfinite(found.origin).all()


def test_some_rows_are_evenly_spaced() -> None:
    assert some_rows(np.arange(10.0)[:, None], 5)[:, 0].tolist() == [0, 2, 4, 6, 8]
