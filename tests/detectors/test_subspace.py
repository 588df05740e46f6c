"""Detectors of weak directions equal second definitions; a head of low rank."""

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
from scipy.special import logsumexp, softmax

from oodbench.detectors.reference import Array, NotApplicable
from oodbench.detectors.subspace import weak_directions


def by_vim(problem: Problem, dim: int, alone: bool) -> list[float]:
    (W, b), (train, test) = linear_head(problem), features(problem)
    origin = -np.linalg.lstsq(W, b, rcond=1e-5)[0]
    _, _, directions = np.linalg.svd(train - origin)  # rows, the strongest first
    strong = directions[:dim]

    def residual(f: Array) -> float:
        x = f - origin
        return float(np.linalg.norm(x - strong.T @ (strong @ x)))

    if alone:
        return [residual(f) for f in test]
    alpha = class_logits(problem.reference.train).max(1).mean() / np.mean([residual(f) for f in train])
    return [alpha * residual(f) - logsumexp(z) for f, z in zip(test, class_logits(problem.test), strict=True)]


def by_pnml(problem: Problem) -> list[float]:
    (W, b), (train, test) = linear_head(problem), features(problem)
    Q = np.stack([g / np.linalg.norm(g) for g in train])
    inverse = np.linalg.inv(Q.T @ Q)
    scores = []
    for f in test:
        q = f / np.linalg.norm(f)
        g = q @ inverse @ q / (1 + q @ inverse @ q)
        scores.append(np.log(sum(p / (p + (1 - p) * p**g) for p in softmax(W @ q + b))))
    return scores


DEFINITIONS: Definitions = {
    "vim": ({"dim": 2}, lambda p: by_vim(p, 2, alone=False)),
    "residual": ({"dim": 2}, lambda p: by_vim(p, 2, alone=True)),
    "pnml": ({}, by_pnml),
}
every = pytest.mark.parametrize("name", DEFINITIONS)


@every
@definition_test
def test_scores_equal_a_second_definition(name: str, K: int, D: int, extra: int, seed: int) -> None:
    check_definition(name, DEFINITIONS, random_problem(K, D, n=30, seed=seed, extra=extra))


@every
def test_held_out_images_are_not_used(name: str) -> None:
    assert not uses_held_out_images(name)


@every
def test_negative_features_have_a_score(name: str) -> None:
    problem = random_problem(signed=True, n=120)
    assert np.isfinite(detector(name)(problem.test, problem.reference)).all()


def test_a_head_whose_rows_sum_to_0_has_a_finite_origin() -> None:
    """Its smallest singular value is rounding, and must not be inverted."""
    problem = random_problem(K=5, D=12, n=100)
    assert problem.reference.linear is not None
    W, b = problem.reference.linear
    W = W - W.mean(0)
    assert np.linalg.norm(np.linalg.pinv(W.astype("f8")) @ b) > 1e4
    origin, _ = weak_directions(problem.reference._replace(linear=(W, b)), 6)
    assert np.linalg.norm(origin) < 10


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


@pytest.mark.parametrize("name", ["vim", "residual", "pnml"])
def test_a_head_that_is_not_linear_is_a_reason(name: str) -> None:
    test, _, reference = random_problem()
    with pytest.raises(NotApplicable, match="needs a linear head; this loss has none"):
        detector(name)(test, reference._replace(linear=None))


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("vim", {"dim": 6}, ValueError, "dim is 6 of 6 features"),
        ("residual", {"dim": 0}, ValueError, "dim is 0 of 6 features"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)


@pytest.mark.parametrize(("D", "dim"), [(6, 3), (9, 4), (2200, 1000)])
def test_the_default_dimension_is_half_at_most_1000(D: int, dim: int) -> None:
    """A space of few images is spanned fast: the weak directions are what is left."""
    _, _, reference = random_problem(D=D, n=30)
    assert weak_directions(reference, None)[1].shape == (D, D - dim)


def test_defaults_equal_the_definition_with_half_of_the_directions() -> None:
    problem = random_problem(D=8, n=60)
    for name, alone in (("vim", False), ("residual", True)):
        scores = detector(name)(problem.test, problem.reference)
        np.testing.assert_allclose(scores, by_vim(problem, 4, alone), rtol=2e-4, atol=2e-5)
