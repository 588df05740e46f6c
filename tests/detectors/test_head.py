"""Detectors of features and a linear head equal second definitions."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.definitions import (
    Definitions,
    check_definition,
    check_zero_features,
    class_logits,
    definition_test,
    features,
    linear_head,
    probabilities,
    uses_held_out_images,
)
from helpers.toy import Problem, blobs, collapsed, detector, random_problem, rows
from scipy.special import logsumexp
from torch.nn import functional as F

from oodbench.detectors.reference import Array, NotApplicable
from oodbench.evaluation.metrics import auroc


def by_dice(problem: Problem, percentile: float) -> list[float]:
    (W, b), (train, test) = linear_head(problem), features(problem)
    contribution = [[w * m for w, m in zip(row, train.mean(0), strict=True)] for row in W]
    mask = np.array(contribution) > np.quantile(contribution, percentile / 100)
    return [-logsumexp([(w * keep) @ f + c for w, keep, c in zip(W, mask, b, strict=True)]) for f in test]


def by_fdbd(problem: Problem, from_mean: bool) -> list[float]:
    (W, _), (train, test) = linear_head(problem), features(problem)
    scores = []
    for f, z in zip(test, class_logits(problem.test), strict=True):
        c = int(z.argmax())
        to_boundary = [abs(z[c] - z[j]) / np.linalg.norm(W[c] - W[j]) for j in range(len(z)) if j != c]
        scores.append(-np.mean(to_boundary) / np.linalg.norm(f - from_mean * train.mean(0)))
    return scores


def by_nci(problem: Problem, alpha: float) -> list[float]:
    (W, _), (train, test) = linear_head(problem), features(problem)
    scores = []
    for f, z in zip(test, class_logits(problem.test), strict=True):
        x = f - train.mean(0)
        scores.append(-W[z.argmax()] @ x / np.linalg.norm(x) - alpha * sum(abs(f)))
    return scores


def by_gradnorm(problem: Problem, temperature: float) -> list[float]:
    W, b = (torch.from_numpy(array) for array in linear_head(problem))
    W.requires_grad_()
    scores = []
    for f in torch.from_numpy(problem.test.features.astype("f8")):
        uniform = torch.full((len(b),), 1 / len(b), dtype=torch.float64)
        loss = F.cross_entropy((W @ f + b) / temperature, uniform)
        scores.append(-torch.autograd.grad(loss, W)[0].abs().sum().item())
    return scores


def by_she(problem: Problem) -> list[float]:
    (f_train, test), train = features(problem), problem.reference.train
    scores = []
    for f, p in zip(test, probabilities(problem.test), strict=True):
        c = p.argmax()
        correct = (train.labels == c) & (probabilities(train).argmax(1) == c)
        scores.append(-f @ f_train[correct if correct.any() else train.labels == c].mean(0))
    return scores


def by_ctm(problem: Problem) -> list[float]:
    (train, test), y = features(problem), problem.reference.train.labels
    means = [train[y == k].mean(0) for k in set(y)]

    def cosine(f: Array, m: Array) -> float:
        return float(f @ m / (f @ f) ** 0.5 / (m @ m) ** 0.5) if f.any() and m.any() else 0.0

    return [-max(cosine(f, m) for m in means) for f in test]


DEFINITIONS: Definitions = {
    "dice": ({"percentile": 60}, lambda p: by_dice(p, 60)),
    "fdbd": ({"distance_as_normalizer": True}, lambda p: by_fdbd(p, from_mean=True)),
    "nci": ({"alpha": 0.1}, lambda p: by_nci(p, 0.1)),
    "gradnorm": ({"temperature": 1.5}, lambda p: by_gradnorm(p, 1.5)),
    "she": ({}, by_she),
    "ctm": ({}, by_ctm),
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


def test_fdbd_divided_by_the_length_of_the_feature() -> None:
    problem = random_problem()
    scores = detector("fdbd", distance_as_normalizer=False)(problem.test, problem.reference)
    np.testing.assert_allclose(scores, by_fdbd(problem, from_mean=False), rtol=1e-5)


@every
def test_features_of_zeros_have_a_score(name: str) -> None:
    check_zero_features(name)


def test_fdbd_of_no_feature_is_no_evidence() -> None:
    """With |f| = 0 below the fraction its score would be that of the surest ID image"""
    problem = blobs()
    problem.test.features[3] = 0
    scores = detector("fdbd", distance_as_normalizer=False)(problem.test, problem.reference)
    assert scores[3] == 0 == scores.max()


@pytest.mark.parametrize("name", ["dice", "fdbd", "nci", "gradnorm"])
def test_a_head_that_is_not_linear_is_a_reason(name: str) -> None:
    test, _, reference = random_problem()
    with pytest.raises(NotApplicable, match="needs a linear head; this loss has none"):
        detector(name)(test, reference._replace(linear=None))


@pytest.mark.parametrize("name", ["fdbd"])
def test_several_blocks_equal_the_second_definition(name: str) -> None:
    problem = random_problem(K=5, D=7, n=700, signed=True)
    check_definition(name, DEFINITIONS, problem._replace(test=rows(problem.test, slice(40))))


def test_a_class_without_correct_predictions_counts_whole() -> None:
    test, _, reference = random_problem(n=150)
    train = reference.train
    correct = (train.labels == 2) & (train.log_probs.argmax(1) == 2)
    without = rows(train, ~correct)
    assert (without.labels == 2).any()
    assert np.isfinite(detector("she")(test, reference._replace(train=without))).all()


def test_a_class_without_training_images_is_a_reason() -> None:
    test, _, reference = random_problem(n=150)
    without = reference._replace(train=rows(reference.train, reference.train.labels != 2))
    with pytest.raises(NotApplicable, match="class 2 has none"):
        detector("she")(test, without)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "error", "says"),
    [
        ("dice", {"percentile": 101}, ValueError, "percentile is 101"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)


def test_ctm_leaves_out_a_class_without_images() -> None:
    problem = random_problem()
    kept = problem.reference.train.labels != 2
    without = problem._replace(reference=problem.reference._replace(train=rows(problem.reference.train, kept)))
    scores = detector("ctm")(without.test, without.reference)
    np.testing.assert_allclose(scores, by_ctm(without), rtol=1e-6)
    assert (scores > detector("ctm")(problem.test, problem.reference)).any()


def test_ctm_tells_collapsed_features_apart() -> None:
    test, ood, reference = collapsed(1e-4)
    id_scores, ood_scores = (detector("ctm")(outputs, reference) for outputs in (test, ood))
    assert auroc(id_scores, ood_scores) > 0.999


def test_ctm_of_no_feature_and_of_no_mean_is_0() -> None:
    test, _, reference = random_problem()
    test.features[0] = 0
    assert detector("ctm")(test, reference)[0] == 0
    reference.train.features[:] = 0
    assert (detector("ctm")(test, reference) == 0).all()
