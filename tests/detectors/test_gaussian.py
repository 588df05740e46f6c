"""Detectors that fit Gaussians equal second definitions; collapsed features."""

from typing import Any

import numpy as np
import pytest
from helpers.definitions import (
    Definitions,
    check_definition,
    check_zero_features,
    definition_test,
    features,
    uses_held_out_images,
)
from helpers.toy import Problem, collapsed, detector, random_problem
from scipy.stats import multivariate_normal

from oodbench.detectors.gaussian import mahalanobis, mahalanobis_pp, relative_mahalanobis
from oodbench.detectors.reference import Array, NotApplicable
from oodbench.evaluation import metrics

RIDGE = 1e-6


def by_mahalanobis(problem: Problem, relative: bool) -> list[float]:
    (train, test), y = features(problem), problem.reference.train.labels
    means = {k: train[y == k].mean(0) for k in set(y)}
    residuals = np.stack([f - means[k] for f, k in zip(train, y, strict=True)])

    def inverse(centred: Array) -> Array:
        C = centred.T @ centred / len(centred)
        return np.linalg.inv(C + RIDGE * np.diag(C).mean() * np.eye(len(C)))

    P, P0, mean = inverse(residuals), inverse(train - train.mean(0)), train.mean(0)
    return [min((f - m) @ P @ (f - m) for m in means.values()) - relative * (f - mean) @ P0 @ (f - mean) for f in test]


def by_mahalanobis_pp(problem: Problem) -> list[float]:
    (train, test), y = features(problem), problem.reference.train.labels
    train, test = (np.stack([f / np.sqrt(f @ f) if f.any() else f for f in each]) for each in (train, test))
    means = {k: train[y == k].mean(0) for k in set(y)}
    C = sum(np.outer(q - means[k], q - means[k]) for q, k in zip(train, y, strict=True)) / len(train)
    P = np.linalg.inv(C + RIDGE * np.diag(C).mean() * np.eye(len(C)))
    return [min((q - m) @ P @ (q - m) for m in means.values()) for q in test]


def by_gmm(problem: Problem, ridge: float) -> list[float]:
    (train, test), y = features(problem), problem.reference.train.labels
    centred = np.stack([f - train[y == k].mean(0) for f, k in zip(train, y, strict=True)])
    added = ridge * np.mean(centred**2) * np.eye(train.shape[1])
    density = np.zeros(len(test))
    for k in set(y):
        own = train[y == k]
        normal = multivariate_normal(own.mean(0), np.cov(own.T, bias=True) + added)
        density += len(own) / len(train) * normal.pdf(test)
    return list(-np.log(density))


DEFINITIONS: Definitions = {
    "mahalanobis": ({"ridge": RIDGE}, lambda p: by_mahalanobis(p, relative=False)),
    "relative_mahalanobis": ({"ridge": RIDGE}, lambda p: by_mahalanobis(p, relative=True)),
    "mahalanobis_pp": ({"ridge": RIDGE}, by_mahalanobis_pp),
    "gmm": ({"ridge": 0.1}, lambda p: by_gmm(p, 0.1)),
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


@pytest.mark.parametrize("score", [mahalanobis, relative_mahalanobis, mahalanobis_pp])
def test_collapsed_features_are_told_apart(score: Any) -> None:
    test, ood, reference = collapsed(1e-4)
    id_scores, ood_scores = (score(outputs, reference, ridge=1e-6) for outputs in (test, ood))
    assert metrics.auroc(id_scores, ood_scores) > 0.999
    if score is mahalanobis:
        assert (id_scores > 0).all()
        assert 50 < np.median(id_scores) < 80  # of 64 degrees of freedom


def test_features_without_variance_are_a_reason() -> None:
    test, _, reference = random_problem()
    reference.train.features[:] = reference.train.labels[:, None]
    for name in ("mahalanobis", "relative_mahalanobis", "mahalanobis_pp", "gmm"):
        with pytest.raises(NotApplicable, match="do not vary within a class"):
            detector(name)(test, reference)


def test_mahalanobis_pp_ignores_the_length_of_a_feature() -> None:
    test, _, reference = random_problem(n=120)
    scores = mahalanobis_pp(test, reference, ridge=RIDGE)
    test.features[:] *= np.linspace(0.1, 9, len(test.features), dtype="f4")[:, None]
    reference.train.features[::3] *= 7
    np.testing.assert_allclose(mahalanobis_pp(test, reference, ridge=RIDGE), scores, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_mahalanobis_pp_has_scores_of_features_of_any_size(scale: float) -> None:
    test, _, reference = random_problem(n=120)
    scores = mahalanobis_pp(test, reference, ridge=RIDGE)
    for outputs in (test, reference.train):
        outputs.features[:] *= np.float32(scale)
    np.testing.assert_allclose(mahalanobis_pp(test, reference, ridge=RIDGE), scores, rtol=1e-3)


@every
def test_no_head_is_needed(name: str) -> None:
    test, _, reference = random_problem(n=120)
    scores = detector(name)(test, reference)
    np.testing.assert_array_equal(detector(name)(test, reference._replace(linear=None, head=None)), scores)


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("mahalanobis", {"ridge": 0}, ValueError, "ridge is 0"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)
