"""OpenMax equals a second definition; its Weibull fit."""

from typing import Any

import numpy as np
import pytest
from helpers.definitions import (
    Definitions,
    check_definition,
    check_zero_features,
    class_logits,
    definition_test,
    log_odds,
    uses_held_out_images,
)
from helpers.toy import Problem, detector, random_problem, rows
from scipy.stats import weibull_min

from oodbench.detectors.openmax import SHIFT, fit_weibull, tail_probability
from oodbench.detectors.reference import Array, NotApplicable


def by_openmax(problem: Problem, alpha: int, tail: int) -> list[float]:
    train, weights = problem.reference.train, []
    for k in range(train.log_probs.shape[1]):
        right = (train.labels == k) & (train.log_probs.argmax(1) == k)
        own = class_logits(train)[right if right.any() else train.labels == k]
        largest = sorted(np.linalg.norm(z - own.mean(0)) for z in own)[-tail:]
        c, log_scale = fit_weibull(np.log(1 + (np.array(largest) - largest[0]) / SHIFT))
        centre = own.mean(0)

        def weight(z: Array, c: float = c, scale: float = np.exp(log_scale), m: Array = centre, t: float = largest[0]):  # type: ignore[no-untyped-def]
            with np.errstate(over="ignore"):  # far tail_probability the tail
                return weibull_min.cdf(1 + (np.linalg.norm(z - m) - t) / SHIFT, c, scale=scale)

        weights.append(weight)
    scores = []
    for z in class_logits(problem.test):
        revised, unknown = z.copy(), 0.0
        for rank, k in enumerate(np.argsort(-z)[:alpha]):
            moved = z[k] * weights[k](z) * (alpha - rank) / alpha
            revised[k] -= moved
            unknown += moved
        scores.append(log_odds(np.exp(unknown) / (np.exp(unknown) + np.exp(revised).sum())) * -1)
    return scores


DEFINITIONS: Definitions = {
    "openmax": ({"alpha": 2, "tail": 9}, lambda p: by_openmax(p, 2, 9)),
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


@pytest.mark.parametrize("spread", [1e-3, 1, 100])
def test_the_weibull_fit_has_maximum_likelihood(spread: float) -> None:
    tail = np.sort(np.random.default_rng(0).exponential(size=20)) * spread
    x = 1 + (tail - tail[0]) / SHIFT
    c, log_scale = fit_weibull(np.log(x))
    ours = weibull_min.logpdf(x, c, scale=np.exp(log_scale)).sum()
    for dc in (-0.01, 0, 0.01):
        for ds in (-0.01, 0, 0.01):  # of the shape; of the distance between two images
            other = weibull_min.logpdf(x, c * (1 + dc), scale=np.exp(log_scale + ds / c)).sum()
            assert other <= ours + 1e-9


def test_the_tail_probability_rises_from_0_to_1() -> None:
    distance = np.linspace(0, 40_000, 999)
    w = tail_probability(distance, np.array([3.0, 4, 6, 20]))
    assert ((w >= 0) & (w <= 1) & (np.diff(w, prepend=0) >= 0)).all()
    assert tail_probability(np.array([4.9, 5.1]), np.full(20, 5.0)) == pytest.approx([0, 1])


@every
def test_no_head_is_needed(name: str) -> None:
    test, _, reference = random_problem(n=120)
    scores = detector(name)(test, reference)
    np.testing.assert_array_equal(detector(name)(test, reference._replace(linear=None, head=None)), scores)


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


def test_a_class_without_correct_predictions_counts_whole() -> None:
    test, _, reference = random_problem(n=150)
    train = reference.train
    correct = (train.labels == 2) & (train.log_probs.argmax(1) == 2)
    without = rows(train, ~correct)
    assert (without.labels == 2).any()
    assert np.isfinite(detector("openmax")(test, reference._replace(train=without))).all()


def test_a_class_without_training_images_is_a_reason() -> None:
    test, _, reference = random_problem(n=150)
    without = reference._replace(train=rows(reference.train, reference.train.labels != 2))
    with pytest.raises(NotApplicable, match="class 2 has none"):
        detector("openmax")(test, without)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("openmax", {"alpha": 0}, ValueError, "alpha is 0"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)
