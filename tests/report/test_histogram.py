"""Histograms of scores: what a threshold accepts is what the definitions of TPR and FPR@95 say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oodbench.evaluation.metrics import fpr95_idpos, fpr95_oodpos
from oodbench.report.figures.histogram import (
    BINS,
    Scale,
    axis,
    counted,
    histogram_of,
    merged,
    panel,
    scale_of,
)
from oodbench.report.plot import Steps
from oodbench.report.scores import Scored

SCORES = arrays(float, st.integers(1, 60), elements=st.integers(-20, 20).map(lambda n: n / 4))


@given(SCORES, SCORES)
def test_below_an_edge_are_the_accepted_images(ids: np.ndarray, oods: np.ndarray) -> None:
    found = histogram_of(Scored(ids, {"a": oods}))
    for counts, scores in ((found.ids, ids), (found.oods["a"], oods)):
        assert counts.sum() == len(scores)
        assert np.array_equal(np.cumsum(counts)[:-1], [(scores <= edge).sum() for edge in found.edges])


@given(SCORES, SCORES)
def test_at_a_threshold_stand_its_accepted_images(ids: np.ndarray, oods: np.ndarray) -> None:
    found = histogram_of(Scored(ids, {"a": oods}))
    accepted, false = found.at["a"]["idpos"]
    assert accepted / len(ids) >= 0.95
    assert false / len(oods) == fpr95_idpos(ids, oods)
    kept, missed = found.at["a"]["oodpos"]
    assert 1 - missed / len(oods) >= 0.95
    assert np.isclose(1 - kept / len(ids), fpr95_oodpos(ids, oods))


def test_counts_by_hand() -> None:
    assert counted(np.array([0.0, 1.0, 1.5, 2.0, 9.0]), np.array([1.0, 2.0])).tolist() == [2, 2, 1]


@given(st.booleans(), st.floats(-5, 5), st.floats(-3, 0), st.floats(0.1, 3))
def test_positions_are_the_inverse_of_scores(is_log: bool, origin: float, low: float, width: float) -> None:
    scale = Scale(is_log, origin, low, low + width)
    positions = np.linspace(0.01, 0.99, 7)
    assert np.allclose(scale.position(scale.score(positions)), positions, atol=1e-6)


def test_crowded_scores_get_a_logarithmic_axis() -> None:
    random = np.random.default_rng(0)
    crowded = 10 ** random.normal(-4, 1, 2000)
    assert scale_of([crowded, random.uniform(0, 1, 500)]).is_log
    assert not scale_of([random.normal(size=2000), random.normal(size=500)]).is_log


def test_equal_scores_have_an_axis() -> None:
    scale = scale_of([np.zeros(5), np.zeros(3)])
    assert scale.position(np.zeros(1)).tolist() == [0.5]


def test_ticks_of_a_logarithmic_axis_are_decades() -> None:
    assert [text for _, text in axis(Scale(True, 0.0, -3.2, 0.1), "s").ticks] == ["10⁰", "10⁻¹", "10⁻²", "10⁻³"]


def test_few_images_are_drawn_in_few_bins() -> None:
    random = np.random.default_rng(0)
    many, few = random.normal(size=20_000), random.normal(size=100)
    assert merged(histogram_of(Scored(many, {"a": many})), "a") == 1
    assert merged(histogram_of(Scored(many, {"a": few})), "a") == 4


def test_drawn_shares_sum_to_one() -> None:
    random = np.random.default_rng(0)
    found = histogram_of(Scored(random.normal(size=300), {"a": random.normal(size=90)}))
    drawn = [mark for mark in panel(found, "a", "near", "", "").marks if isinstance(mark, Steps)]
    assert all(np.isclose(np.sum(mark.heights), 1) for mark in drawn)
    assert BINS % 4 == 0
