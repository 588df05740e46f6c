"""Detectors that compare with training images equal second definitions; blocks, ties."""

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
    probabilities,
    uses_held_out_images,
)
from helpers.toy import Problem, blobs, collapsed, detector, random_problem, rows
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from oodbench.detectors import reference as reference_module
from oodbench.detectors.neighbours import knn, largest_products, sum_of_relations
from oodbench.detectors.reference import NotApplicable, blocks


def by_knn(problem: Problem, k: int) -> list[float]:
    train, test = features(problem)
    bank = [g / np.linalg.norm(g) for g in train]
    return [sorted(np.linalg.norm(f / np.linalg.norm(f) - g) for g in bank)[k - 1] for f in test]


def by_nnguide(problem: Problem, k: int) -> list[float]:
    (train, test), energies = features(problem), [logsumexp(z) for z in class_logits(problem.reference.train)]
    bank = [e * g / np.linalg.norm(g) for e, g in zip(energies, train, strict=True)]
    return [
        -logsumexp(z) * np.mean(sorted(f / np.linalg.norm(f) @ g for g in bank)[-k:])
        for f, z in zip(test, class_logits(problem.test), strict=True)
    ]


def by_relation(problem: Problem, power: float, threshold: float) -> list[float]:
    train, test = features(problem)
    train, test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (train, test))
    scores = []
    for f, p in zip(test, probabilities(problem.test), strict=True):
        r = [max(f @ g, 0) * (p @ q) for g, q in zip(train, probabilities(problem.reference.train), strict=True)]
        scores.append(-sum(each**power for each in r if each > threshold))
    return scores


DEFINITIONS: Definitions = {
    "knn": ({"k": 5}, lambda p: by_knn(p, 5)),
    "nnguide": ({"k": 7, "share": 1.0}, lambda p: by_nnguide(p, 7)),
    "relation": ({"power": 2, "threshold": 0.1}, lambda p: by_relation(p, 2, 0.1)),
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


@pytest.mark.parametrize("name", ["knn", "nnguide", "relation"])
def test_many_images_score_as_in_two_parts(name: str) -> None:
    test, _, reference = random_problem(n=1300, signed=True)
    halves = [detector(name)(rows(test, half), reference) for half in (slice(0, 400), slice(400, None))]
    np.testing.assert_allclose(detector(name)(test, reference), np.concatenate(halves), rtol=1e-5)


def test_nnguide_draws_its_bank_by_its_seed() -> None:
    test, _, reference = blobs()
    scores = [detector("nnguide", share=0.5, k=20, seed=seed)(test, reference) for seed in (0, 0, 1)]
    assert (scores[0] == scores[1]).all()
    assert (scores[0] != scores[2]).any()
    detector("nnguide", share=0.01, k=20)(test, reference)  # of 4 images


def test_close_neighbours_are_measured_in_float64() -> None:
    test, _, reference = collapsed(1e-4)
    unit, bank = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (test.features, reference.train.features))
    assert len(np.unique(np.sort(unit @ bank.T, axis=1)[:, -5])) < 20  # products of float32 are all but one value
    q, Q = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (test.features.astype("f8"), reference.train.features.astype("f8"))
    )
    exact = np.sort(cdist(q, Q), axis=1)[:, 4]
    np.testing.assert_allclose(knn(test, reference, k=5), exact, rtol=1e-4)


def test_training_images_without_features_are_no_neighbours() -> None:
    test, _, reference = random_problem(n=40)
    without = reference.train.features.copy()
    without[10:] = 0  # 70 of 80
    some = reference._replace(train=reference.train._replace(features=without))
    few = reference._replace(train=rows(reference.train, slice(10)))
    np.testing.assert_array_equal(knn(test, some, k=5), knn(test, few, k=5))
    with pytest.raises(NotApplicable, match="needs 11 training images; there are 10"):
        knn(test, some, k=11)


def test_relations_are_summed_in_float64() -> None:
    """A float32 sum ties images whose features hardly differ."""
    q, ones = np.linspace(0.999, 1, 50, dtype=np.float32)[:, None], np.ones((1000, 1), np.float32)
    found = sum_of_relations(ones[:50], q, ones, ones, power=1, threshold=0)
    np.testing.assert_allclose(found, 1000 * q[:, 0].astype("f8"), rtol=1e-12)


def test_the_largest_products_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    q, bank = random.normal(size=(9, 6)), random.normal(size=(50, 6))
    want = np.sort(q @ bank.T, axis=1)[:, -7:]
    for size in (1, 3, 7, 8, 49, 50, 51):
        monkeypatch.setattr(reference_module, "BLOCK", size)
        found = largest_products(q, (Q for (Q,) in blocks(bank)), 7)
        np.testing.assert_allclose(np.sort(found, axis=1), want, rtol=1e-12)
        np.testing.assert_allclose(found[:, 0], want[:, 0], rtol=1e-12)


@every
def test_no_head_is_needed(name: str) -> None:
    test, _, reference = random_problem(n=120)
    scores = detector(name)(test, reference)
    np.testing.assert_array_equal(detector(name)(test, reference._replace(linear=None, head=None)), scores)


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


@pytest.mark.parametrize("name", ["knn", "nnguide", "relation"])
def test_several_blocks_equal_the_second_definition(name: str) -> None:
    problem = random_problem(K=5, D=7, n=700, signed=True)
    check_definition(name, DEFINITIONS, problem._replace(test=rows(problem.test, slice(40))))


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("knn", {"k": 0}, ValueError, "k is 0"),
        ("knn", {"k": 999}, NotApplicable, "needs 999 training images; there are 240"),
        ("nnguide", {"k": 999}, NotApplicable, "needs 999 training images"),
        ("relation", {"threshold": -1}, ValueError, "threshold is -1"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)
