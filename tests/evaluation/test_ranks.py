"""Spearman's rank correlation and its test, against scipy and by counting."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from oodbench.evaluation.ranks import permutation_p_value, ranks, spearman

NUMBERS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12)


@given(NUMBERS)
def test_ranks_and_correlation_are_scipys(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    assert (ranks(a) == stats.rankdata(a)).all()
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    else:
        assert math.isnan(spearman(a, b))


def test_columns_are_correlated_each_for_itself() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 7, 5))
    expected = [stats.spearmanr(a[:, i], b[:, i]).statistic for i in range(5)]
    np.testing.assert_allclose(spearman(a, b), expected)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=5))
def test_p_value_counts_the_orders(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    p = permutation_p_value(a, b)
    if math.isnan(spearman(a, b)):
        assert math.isnan(p)
    else:
        others = [abs(spearman(a, np.array(order))) for order in permutations(b)]
        assert p == pytest.approx(np.mean(np.array(others) >= abs(spearman(a, b)) - 1e-9))


def test_p_value_of_many_is_near_that_of_all_orders() -> None:
    a, b = np.arange(9.0) - 4, np.array([0, 1, 2, 7, 3, 4, 8, 6, 5.0]) - 4
    exact = np.mean(np.abs(np.array(list(permutations(b))) @ a) >= abs(a @ b))
    assert permutation_p_value(a, b) == pytest.approx(exact, abs=4 * math.sqrt(exact / 100_000))


def test_p_value_is_small_for_one_order_of_ten_and_never_zero() -> None:
    assert 0 < permutation_p_value(np.arange(10.0), np.arange(10.0) ** 2) < 1e-4
