"""ROC curves: every point is one, the ends are there, and the area is near AUROC."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oodbench.evaluation.metrics import auroc
from oodbench.report.figures.roc import Curve, panel, roc_of
from oodbench.report.plot import Dots, Label

SCORES = arrays(float, st.integers(1, 40), elements=st.integers(-9, 9).map(float))


@given(SCORES, SCORES)
def test_every_point_is_that_of_a_threshold(ids: np.ndarray, oods: np.ndarray) -> None:
    thresholds = [-np.inf, *np.unique(np.concatenate([ids, oods]))]
    allowed = {(np.mean(oods <= t), np.mean(ids <= t)) for t in thresholds}
    found = roc_of(ids, oods)
    points = list(zip(found.oods, found.ids, strict=True))
    assert set(points) <= allowed
    assert points[0] == (0, 0)
    assert points[-1] == (1, 1)


@given(SCORES, SCORES)
def test_all_points_give_auroc(ids: np.ndarray, oods: np.ndarray) -> None:
    found = roc_of(ids, oods, points=10_000)
    assert np.isclose(np.trapezoid(found.ids, found.oods), auroc(ids, oods))


def test_few_points_are_enough_for_the_eye() -> None:
    random = np.random.default_rng(0)
    ids, oods = random.normal(size=5000), random.normal(1.5, size=3000)
    found = roc_of(ids, oods)
    assert len(found.ids) <= 49
    assert abs(np.trapezoid(found.ids, found.oods) - auroc(ids, oods)) < 0.002


def test_marks_stand_at_both_fpr95() -> None:
    curve = Curve(roc_of(np.zeros(2), np.ones(2)), 1.0, 0.3, 0.2)
    drawn = panel({"HALO": curve}, {"HALO": ("c0", False)}, "SVHN")
    (dots,) = (mark for mark in drawn.marks if isinstance(mark, Dots))
    assert list(zip(dots.xs, dots.ys, strict=True)) == [(0.3, 0.95), (0.05, 0.8)]
    assert "FPR@95 (95 % of ID accepted) 30.00, FPR@95 (95 % of OOD caught) 20.00" in dots.titles[0]


def test_names_stand_by_falling_auroc() -> None:
    roc = roc_of(np.zeros(2), np.ones(2))
    curves = {name: Curve(roc, value, None, None) for name, value in (("a", 0.5), ("b", 0.9))}
    drawn = panel(curves, dict.fromkeys(curves, ("c0", False)), "")
    assert [mark.text for mark in drawn.marks if isinstance(mark, Label)] == ["b 90.00", "a 50.00"]
