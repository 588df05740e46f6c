"""DeLong's variance against its definition, the bootstrap and a known truth."""

import numpy as np
import pytest
from helpers.delong import delong, delong_covariance, delong_difference
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from oodbench.evaluation.bootstrap import resampled_ood
from oodbench.evaluation.metrics.detection import auroc
from oodbench.evaluation.significance import paired_bootstrap

Array = NDArray[np.float64]
tied = st.lists(st.integers(-3, 3), min_size=2, max_size=30).map(lambda s: np.array(s, dtype=np.float64))


def near(share: float, expected: float, simulations: int, slack: float = 0.0) -> bool:
    """Within 3.5 standard errors of a binomial"""
    return abs(share - expected) < 3.5 * (expected * (1 - expected) / simulations) ** 0.5 + slack


def kernel(ids: Array, oods: Array) -> Array:
    return (oods > ids[:, None]) + (oods == ids[:, None]) / 2


@given(tied, tied)
def test_it_is_the_variance_of_rows_and_columns_of_the_pairs(ids: Array, oods: Array) -> None:
    pairs = kernel(ids, oods)
    expected = np.var(pairs.mean(1), ddof=1) / len(ids) + np.var(pairs.mean(0), ddof=1) / len(oods)
    area, variance, (low, high) = delong(ids, oods)
    assert area == pytest.approx(auroc(ids, oods), abs=1e-12)
    assert variance == pytest.approx(expected, abs=1e-12)
    assert 0 <= low <= area + 1e-12
    assert area - 1e-12 <= high <= 1


def test_the_covariance_of_two_detectors_is_that_of_their_pairs() -> None:
    random = np.random.default_rng(0)
    ids, oods = random.integers(6, size=(2, 40)) / 1.0, 1 + random.integers(6, size=(2, 30)) / 1.0
    areas, covariance = delong_covariance(list(ids), list(oods))
    a, b = (kernel(i, o) for i, o in zip(ids, oods, strict=True))
    expected = np.cov(a.mean(1), b.mean(1)) / 40 + np.cov(a.mean(0), b.mean(0)) / 30
    np.testing.assert_allclose(covariance, expected, atol=1e-14)
    is_ood = np.arange(70) >= 40
    assert areas == pytest.approx([roc_auc_score(is_ood, np.concatenate(x)) for x in zip(ids, oods, strict=True)])
    difference = delong_difference(ids[0], oods[0], ids[1], oods[1])
    deviation = (expected[0, 0] + expected[1, 1] - 2 * expected[0, 1]) ** 0.5
    assert difference.difference == pytest.approx(areas[0] - areas[1])
    assert difference.p_value == pytest.approx(2 * stats.norm.sf(abs(areas[0] - areas[1]) / deviation))
    assert np.diff(difference.interval)[0] == pytest.approx(2 * 1.959964 * deviation, rel=1e-6)


def test_delong_of_a_detector_and_itself_is_no_difference() -> None:
    ids, oods = np.arange(5.0), np.arange(2.0, 8)
    assert delong_difference(ids, oods, 2 * ids, 2 * oods) == (0, (0, 0), 1, 1)


@pytest.mark.parametrize(("ids", "oods"), [(1, 5), (5, 1)])
def test_delong_refuses_one_image(ids: int, oods: int) -> None:
    with pytest.raises(ValueError, match=f"{ids} ID and {oods} OOD images"):
        delong(np.arange(float(ids)), np.arange(float(oods)))


def test_delong_and_the_bootstrap_agree() -> None:
    random = np.random.default_rng(4)
    shared_id, shared_ood = random.normal(size=900), random.normal(1, size=600)
    ids = {name: np.round(shared_id + random.normal(size=900), 1) for name in "ab"}
    oods = {name: np.round(shared_ood + random.normal(size=600), 1) for name in "ab"}
    values = resampled_ood(ids, oods, 2000, 0)
    for name in "ab":
        deviation = delong(ids[name], oods[name])[1] ** 0.5
        assert np.std(values[name]["auroc"]) == pytest.approx(deviation, rel=0.06)  # 2,000 resamples: 1.6 % each sigma
    exact = delong_difference(ids["a"], oods["a"], ids["b"], oods["b"])
    drawn = paired_bootstrap(exact.difference, values["a"]["auroc"] - values["b"]["auroc"])
    assert drawn.interval == pytest.approx(exact.interval, abs=0.06 * np.diff(exact.interval)[0])
    unpaired = (np.var(values["a"]["auroc"]) + np.var(values["b"]["auroc"])) ** 0.5
    assert np.std(values["a"]["auroc"] - values["b"]["auroc"]) < 0.85 * unpaired


@pytest.mark.slow
def test_intervals_hold_the_truth_and_equal_detectors_agree() -> None:
    random, simulations = np.random.default_rng(5), 2000
    truth, held, rejected = stats.norm.cdf(1.2 / 2**0.5), 0, 0
    for _ in range(simulations):
        ids, oods = random.normal(size=200), random.normal(1.2, 1, size=150)
        low, high = delong(ids, oods)[2]
        held += low <= truth <= high
        noise = random.normal(size=(2, 350))
        a, b = (np.concatenate([ids, oods]) + 0.5 * n for n in noise)
        rejected += delong_difference(a[:200], a[200:], b[:200], b[200:]).p_value <= 0.05
    assert near(held / simulations, 0.95, simulations, slack=0.005), held / simulations
    assert near(rejected / simulations, 0.05, simulations, slack=0.005), rejected / simulations
