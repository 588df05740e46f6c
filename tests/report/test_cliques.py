"""Cliques of rows that tests cannot tell apart."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from oodbench.evaluation.significance import compare
from oodbench.report.figures.cliques import cliques_of, panel, ranked
from oodbench.report.plot import Line


@given(st.integers(1, 6), st.sets(st.tuples(st.integers(0, 5), st.integers(0, 5))))
def test_cliques_are_the_largest_runs_without_a_difference(n: int, pairs: set[tuple[int, int]]) -> None:
    differ = {(min(p), max(p)) for p in pairs if p[0] != p[1]}
    alike = [
        (a, b) for a, b in combinations(range(n), 2) if not any(p in differ for p in combinations(range(a, b + 1), 2))
    ]
    largest = [(a, b) for a, b in alike if not any(c <= a and b <= d and (c, d) != (a, b) for c, d in alike)]
    assert cliques_of(n, differ) == sorted(largest)


def test_rows_far_apart_are_in_no_clique() -> None:
    noise = 0.001 * np.random.default_rng(0).normal(size=(3, 1000))
    means = {"a": 0.9, "b": 0.8999, "c": 0.5}
    values = {label: np.array([mean]) for label, mean in means.items()}
    resampled = {label: mean + noise[i : i + 1] for i, (label, mean) in enumerate(means.items())}
    found = ranked(values, resampled, dict.fromkeys(means), means)
    assert found.labels == ["a", "b", "c"]
    assert found.cliques == [(0, 1)]


def test_pairs_are_corrected_for_their_number() -> None:
    """Neighbours have p of .03 each, which would do for a pair alone; a and c, with the same noise, surely differ."""
    noise = 0.01 / 2.17 * special.ndtri((np.arange(1000) + 0.5) / 1000)[None]
    means = {"a": 0.51, "b": 0.5, "c": 0.49}
    values = {label: np.array([mean]) for label, mean in means.items()}
    resampled = {"a": 0.51 + noise, "b": np.full((1, 1000), 0.5), "c": 0.49 + noise}
    assert compare(values["a"], values["b"], resampled["a"], resampled["b"]).p_value == pytest.approx(0.03, abs=0.003)
    assert ranked(values, resampled, dict.fromkeys(means), means).cliques == [(0, 1), (1, 2)]


def test_a_bar_joins_a_clique() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 1000)) / 10
    means = {"a": 0.9, "b": 0.8}
    values = {label: np.array([mean]) for label, mean in means.items()}
    resampled = {label: values[label][:, None] + noise[i] for i, label in enumerate(means)}
    drawn = panel(ranked(values, resampled, {"a": (0.8, 0.95), "b": None}, means), "", "")
    lines = [mark for mark in drawn.marks if isinstance(mark, Line)]
    assert [mark.tone for mark in lines] == ["ink", "c1"]


def test_rows_that_the_shared_seeds_order_otherwise_are_joined() -> None:
    """b is far better on the seed that both have, and below a in its mean over further ones: a is not told from it."""
    noise = 0.001 * np.random.default_rng(0).normal(size=(2, 1000))
    values = {"a": np.array([0.5]), "b": np.array([0.8])}
    resampled = {label: values[label][:, None] + noise[i] for i, label in enumerate(values)}
    for means, cliques in (({"a": 0.7, "b": 0.6}, [(0, 1)]), ({"a": 0.6, "b": 0.7}, [])):
        assert ranked(values, resampled, dict.fromkeys(means), means).cliques == cliques
