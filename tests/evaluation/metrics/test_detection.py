"""OOD metrics against their definitions written out, against scikit-learn, and against examples worked by hand."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from oodbench.evaluation.metrics import OOD_METRICS, detection
from oodbench.evaluation.metrics.detection import (
    aupr_in,
    aupr_out,
    auroc,
    fpr95_idpos,
    fpr95_oodpos,
    threshold_idpos,
    threshold_oodpos,
)

Scores = NDArray[np.float64]

tied = st.lists(st.integers(-4, 4), min_size=1, max_size=60).map(lambda s: np.array(s, dtype=np.float64))
finite = st.floats(-1e300, 1e300)
spread = st.lists(finite, min_size=1, max_size=30).map(np.array)
scores = tied | spread

# ID, OOD, and what facts about them were counted by hand: A without ties, B with half of ID tied at 0
EXAMPLE_A = (np.arange(1.0, 21), np.array([6.5, 7.5, *range(21, 39)]))
EXAMPLE_B = (np.array([0.0] * 12 + list(range(1, 9))), np.array([0.0] * 2 + list(range(3, 21))))


def all_pairs(id_scores: Scores, ood_scores: Scores) -> float:
    return float(np.mean((ood_scores[:, None] > id_scores) + (ood_scores[:, None] == id_scores) / 2))


def sweep_idpos(id_scores: Scores, ood_scores: Scores) -> float:
    """Over all thresholds that accept 95 % of ID (score <= t), the least share of OOD accepted."""
    thresholds = np.concatenate([id_scores, ood_scores])
    good = [t for t in thresholds if 100 * (id_scores <= t).sum() >= 95 * len(id_scores)]
    return float(min((ood_scores <= t).mean() for t in good))


def sweep_oodpos(id_scores: Scores, ood_scores: Scores) -> float:
    """Over all thresholds that flag 95 % of OOD (score >= t), the least share of ID flagged."""
    thresholds = np.concatenate([id_scores, ood_scores])
    good = [t for t in thresholds if 100 * (ood_scores >= t).sum() >= 95 * len(ood_scores)]
    return float(min((id_scores >= t).mean() for t in good))


def sweep_average_precision(positive: Scores, negative: Scores) -> float:
    """sum over thresholds, from the highest score down, of (recall gained) x precision there; high is positive."""
    area = recall = 0.0
    for t in sorted(set(positive) | set(negative), reverse=True):
        true, false = (positive >= t).sum(), (negative >= t).sum()
        area += (true / len(positive) - recall) * true / (true + false)
        recall = true / len(positive)
    return float(area)


BRUTE_FORCE = {
    "auroc": all_pairs,
    "fpr95_idpos": sweep_idpos,
    "fpr95_oodpos": sweep_oodpos,
    "aupr_in": lambda a, b: sweep_average_precision(-a, -b),
    "aupr_out": lambda a, b: sweep_average_precision(b, a),
}


def test_every_metric_of_the_module_has_a_definition_here() -> None:
    of_module = {name for name, metric in OOD_METRICS.items() if metric.function.__module__ == detection.__name__}
    assert of_module == BRUTE_FORCE.keys()


@pytest.mark.parametrize("name", BRUTE_FORCE)
@given(id_scores=scores, ood_scores=scores)
def test_ood_metric_equals_its_definition_under_ties(name: str, id_scores: Scores, ood_scores: Scores) -> None:
    assert OOD_METRICS[name](id_scores, ood_scores) == pytest.approx(BRUTE_FORCE[name](id_scores, ood_scores))


def first_reaching_95(labels: NDArray[np.bool_], scores: Scores) -> float:
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(fpr[np.argmax(tpr >= 0.95)])


@pytest.mark.parametrize("levels", [2, 5, 40, 10**6])
def test_ood_metrics_equal_scikit_learn(levels: int) -> None:
    random = np.random.default_rng(levels)
    for _ in range(30):
        n, m = random.integers(1, 200, 2)
        id_scores = random.integers(levels, size=n) / levels
        ood_scores = random.integers(levels, size=m) / levels + random.choice([0, 0.2])
        both, is_ood = np.concatenate([id_scores, ood_scores]), np.arange(n + m) >= n
        assert auroc(id_scores, ood_scores) == pytest.approx(roc_auc_score(is_ood, both))
        assert fpr95_idpos(id_scores, ood_scores) == pytest.approx(first_reaching_95(~is_ood, -both))
        assert fpr95_oodpos(id_scores, ood_scores) == pytest.approx(first_reaching_95(is_ood, both))
        assert aupr_in(id_scores, ood_scores) == pytest.approx(average_precision_score(~is_ood, -both))
        assert aupr_out(id_scores, ood_scores) == pytest.approx(average_precision_score(is_ood, both))


def test_worked_example_without_ties() -> None:
    assert auroc(*EXAMPLE_A) == pytest.approx(0.9325)
    assert fpr95_oodpos(*EXAMPLE_A) == 0.65  # 19 of 20 OOD at 7.5 and above, as are 13 of 20 ID
    assert fpr95_idpos(*EXAMPLE_A) == 0.10  # 19 of 20 ID at 19 and below, as are 2 of 20 OOD


def test_worked_example_with_ties_is_not_interpolated() -> None:
    assert auroc(*EXAMPLE_B) == pytest.approx(0.885)
    assert fpr95_oodpos(*EXAMPLE_B) == 1.00  # 19 of 20 OOD need the threshold 0; interpolation would say 0.70
    assert fpr95_idpos(*EXAMPLE_B) == 0.35
    assert aupr_out(*EXAMPLE_B) == pytest.approx(0.8980, abs=5e-5)  # average precision; a trapezoid: 0.9138
    assert aupr_in(*EXAMPLE_B) == pytest.approx(0.8314, abs=5e-5)  # a trapezoid: 0.8779


def test_95_percent_of_n_is_the_ceiling_in_integers() -> None:
    for n in range(1, 201):
        k, ranks = math.ceil(Fraction(95 * n, 100)), np.arange(1.0, n + 1)
        assert (fpr95_idpos(ranks, ranks), fpr95_oodpos(ranks, ranks)) == (k / n, k / n), n


@given(scores=scores)
def test_a_threshold_is_the_last_that_reaches_95_percent(scores: Scores) -> None:
    enough = [t for t in scores if 100 * (scores <= t).sum() >= 95 * len(scores)]
    assert threshold_idpos(scores) == min(enough)
    enough = [t for t in scores if 100 * (scores >= t).sum() >= 95 * len(scores)]
    assert threshold_oodpos(scores) == max(enough)


@given(id_scores=tied, ood_scores=tied)
def test_auroc_sees_only_the_order(id_scores: Scores, ood_scores: Scores) -> None:
    value = auroc(id_scores, ood_scores)
    for transform in (np.exp, lambda s: s**3, lambda s: 7 * s - 1000):
        assert auroc(transform(id_scores), transform(ood_scores)) == value


@given(id_scores=scores, ood_scores=scores)
def test_auroc_of_swapped_sets_is_the_complement(id_scores: Scores, ood_scores: Scores) -> None:
    assert auroc(id_scores, ood_scores) == pytest.approx(1 - auroc(ood_scores, id_scores))


@given(id_scores=scores, ood_scores=scores)
def test_the_two_fpr_conventions_mirror_each_other(id_scores: Scores, ood_scores: Scores) -> None:
    assert fpr95_idpos(id_scores, ood_scores) == fpr95_oodpos(-ood_scores, -id_scores)


def test_constant_scores_are_chance() -> None:
    same = np.full(30, 0.5), np.full(10, 0.5)
    assert (auroc(*same), fpr95_idpos(*same), fpr95_oodpos(*same)) == (0.5, 1, 1)
    assert (aupr_in(*same), aupr_out(*same)) == (0.75, 0.25)


def test_perfect_scores_are_perfect_and_reversed_ones_the_worst() -> None:
    low, high = np.arange(0.0, 10), np.arange(10.0, 20)
    assert [OOD_METRICS[name](low, high) for name in BRUTE_FORCE] == [1, 0, 0, 1, 1]
    assert [OOD_METRICS[name](high, low) for name in BRUTE_FORCE][:3] == [0, 1, 1]


def test_float32_scores_that_differ_are_not_tied() -> None:
    one = np.array([1], dtype=np.float32)
    assert auroc(one, np.nextafter(one, np.float32(2))) == 1


@pytest.mark.parametrize("name", BRUTE_FORCE)
@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-np.inf, 0], [], [[0.0, 1.0]]], ids=repr)
def test_scores_that_are_not_finite_or_not_there_are_refused(name: str, bad: list[float]) -> None:
    good, spoilt = np.array([0.0, 1.0]), np.array(bad, dtype=np.float64)
    with pytest.raises(ValueError, match="ID scores"):
        OOD_METRICS[name](spoilt, good)
    with pytest.raises(ValueError, match="OOD scores"):
        OOD_METRICS[name](good, spoilt)
