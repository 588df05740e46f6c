"""Detectors that change features equal second definitions; percentiles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.definitions import (
    Definitions,
    check_definition,
    check_zero_features,
    class_logits,
    definition_test,
    features,
    linear_head,
    uses_held_out_images,
)
from helpers.toy import Problem, detector, random_problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from oodbench.detectors.reference import Array, NotApplicable
from oodbench.detectors.shaping import percentiles_by_counting


def energy_of_head(problem: Problem, shape: Callable[[Array], Array]) -> list[float]:
    W, b = linear_head(problem)
    return [-np.log(np.exp(W @ shape(f) + b).sum()) for f in features(problem)[1]]


def by_react(problem: Problem, percentile: float) -> list[float]:
    threshold = np.quantile(np.ravel(features(problem)[0]), percentile / 100)
    return energy_of_head(problem, lambda f: np.array([min(x, threshold) for x in f]))


def by_vra(problem: Problem, low: float, high: float) -> list[float]:
    low, high = np.quantile(np.ravel(features(problem)[0]), [low / 100, high / 100])
    return energy_of_head(problem, lambda f: np.array([min(max(x, low), high) for x in f]))


def top(f: Array, percentile: float) -> tuple[Array, float, int]:
    """f with all but its n largest at 0, sum f / sum of those, n"""
    n = len(f) - round(len(f) * percentile / 100)
    pruned = np.zeros_like(f)
    for i in sorted(range(len(f)), key=lambda i: f[i])[-n:]:
        pruned[i] = f[i]
    return pruned, f.sum() / pruned.sum(), n


def by_ash(problem: Problem, kind: str, percentile: float) -> list[float]:
    def shape(f: Array) -> Array:
        pruned, ratio, n = top(f, percentile)
        return {"p": pruned, "s": pruned * np.exp(ratio), "b": (pruned > 0) * f.sum() / n, "scale": f * np.exp(ratio)}[
            kind
        ]

    return energy_of_head(problem, shape)


def by_lts(problem: Problem, percentile: float) -> list[float]:
    ratios = [top(f, percentile)[1] for f in features(problem)[1]]
    return [-logsumexp(z * r**2) for z, r in zip(class_logits(problem.test), ratios, strict=True)]


DEFINITIONS: Definitions = {
    "react": ({"percentile": 70}, lambda p: by_react(p, 70)),
    "vra": ({"percentile_low": 20, "percentile_high": 70}, lambda p: by_vra(p, 20, 70)),
    "ash_p": ({"percentile": 60}, lambda p: by_ash(p, "p", 60)),
    "ash_b": ({"percentile": 60}, lambda p: by_ash(p, "b", 60)),
    "ash_s": ({"percentile": 60}, lambda p: by_ash(p, "s", 60)),
    "scale": ({"percentile": 60}, lambda p: by_ash(p, "scale", 60)),
    "lts": ({"percentile": 60}, lambda p: by_lts(p, 60)),
}
every = pytest.mark.parametrize("name", DEFINITIONS)
CALIBRATED = {"react", "vra"}


@every
@definition_test
def test_scores_equal_a_second_definition(name: str, K: int, D: int, extra: int, seed: int) -> None:
    check_definition(name, DEFINITIONS, random_problem(K, D, n=30, seed=seed, extra=extra))


@every
def test_held_out_images_are_used_to_calibrate_only(name: str) -> None:
    assert uses_held_out_images(name) == (name in CALIBRATED)


@every
def test_negative_features_are_a_reason(name: str) -> None:
    problem = random_problem(signed=True, n=120)
    with pytest.raises(NotApplicable, match="ReLU"):
        detector(name)(problem.test, problem.reference)


@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0, 100), min_size=1, max_size=3), st.booleans())
@settings(deadline=None, max_examples=50)
def test_percentiles_by_counting_are_those_of_numpy(seed: int, percentiles: list[float], rounded: bool) -> None:
    x = np.random.default_rng(seed).normal(size=(37, 5)).astype("f4") * np.float32(10) ** (seed % 7 - 3)
    x = np.round(x) if rounded else x  # ties, zeros of both signs
    for rows in (slice(None), slice(1)):
        want = np.percentile(x[rows].astype("f8"), percentiles)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("oodbench.detectors.reference.BLOCK", 8)
            got = percentiles_by_counting(x[rows], percentiles)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * np.abs(x).max())


def test_percentiles_of_one_number_infinity_and_nan() -> None:
    assert percentiles_by_counting(np.array([[-0.5]], "f4"), [0, 30, 100]).tolist() == [-0.5] * 3
    assert percentiles_by_counting(np.array([[1, np.inf, 2]], "f4"), [0, 50, 100]).tolist() == [1, 2, np.inf]
    for nan in (np.nan, -np.nan):
        assert np.isnan(percentiles_by_counting(np.array([[1, nan, 2]], "f4"), [0, 50])).all()


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


@every
def test_any_head_will_do(name: str) -> None:
    test, _, reference = random_problem(n=120)
    scores = detector(name)(test, reference)
    np.testing.assert_array_equal(detector(name)(test, reference._replace(linear=None)), scores)


@pytest.mark.parametrize("name", ["react", "vra", "ash_p", "ash_b", "ash_s", "scale"])
def test_an_unknown_head_is_a_reason(name: str) -> None:
    test, _, reference = random_problem()
    with pytest.raises(NotApplicable, match="these outputs came without one"):
        detector(name)(test, reference._replace(head=None))


def test_lts_needs_no_head() -> None:
    test, _, reference = random_problem()
    scores = detector("lts")(test, reference)
    np.testing.assert_array_equal(detector("lts")(test, reference._replace(head=None)), scores)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("react", {"percentile": 101}, ValueError, "percentiles are"),
        ("vra", {"percentile_low": 90, "percentile_high": 10}, ValueError, "the lower one first"),
        ("ash_s", {"percentile": -1}, ValueError, "percentile is -1"),
        ("scale", {"percentile": 101}, ValueError, "percentile is 101"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)
