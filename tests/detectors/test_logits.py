"""Detectors of logits and probabilities equal second definitions; saturation, temperatures."""

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
    log_odds,
    probabilities,
    uses_held_out_images,
)
from helpers.toy import NO_HEAD, Problem, classifier, detector, random_outputs, random_problem, rows
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from scipy.stats import entropy as kl_or_entropy

from oodbench.detectors.logits import NoTemperatureError, temperature
from oodbench.detectors.reference import Array, NotApplicable
from oodbench.evaluation.metrics.classification import nll
from oodbench.losses.ce import CrossEntropy
from oodbench.model import predict


def by_gen(problem: Problem, gamma: float, M: int) -> list[float]:
    return [sum((q * (1 - q)) ** gamma for q in sorted(p)[::-1][:M]) for p in probabilities(problem.test)]


def by_kl_matching(problem: Problem) -> list[float]:
    train = probabilities(problem.reference.train)
    templates = [train[train.argmax(1) == k].mean(0) for k in range(train.shape[1]) if (train.argmax(1) == k).any()]
    return [min(kl_or_entropy(p, q) for q in templates) for p in probabilities(problem.test)]


def by_temperature(problem: Problem) -> list[float]:
    z, y = class_logits(problem.reference.train), problem.reference.train.labels

    def nll(log_T: float) -> float:
        return -np.mean([row[label] - logsumexp(row) for row, label in zip(z / np.exp(log_T), y, strict=True)])

    T = np.exp(minimize_scalar(nll, bounds=(-7, 7), method="bounded", options={"xatol": 1e-9}).x)
    return [log_odds(softmax(row / T).max()) for row in class_logits(problem.test)]


SATURATED = ["ood_score", "msp", "maxlogit", "energy", "entropy", "gen", "temperature_scaling", "odin_unperturbed"]


DEFINITIONS: Definitions = {
    "ood_score": ({}, lambda p: list(p.test.ood_score)),
    "msp": ({}, lambda p: list(-probabilities(p.test).max(1))),
    "maxlogit": ({}, lambda p: [-max(z) for z in class_logits(p.test)]),
    "energy": ({"temperature": 0.3}, lambda p: [-0.3 * np.log(sum(np.exp(z / 0.3))) for z in class_logits(p.test)]),
    "entropy": ({}, lambda p: [kl_or_entropy(each) for each in probabilities(p.test)]),
    "gen": ({"gamma": 0.1, "M": 3}, lambda p: by_gen(p, 0.1, 3)),
    "kl_matching": ({}, by_kl_matching),
    "temperature_scaling": ({}, by_temperature),
    "odin_unperturbed": ({"temperature": 7}, lambda p: [log_odds(max(softmax(z / 7))) for z in class_logits(p.test)]),
}
every = pytest.mark.parametrize("name", DEFINITIONS)
CALIBRATED = {"kl_matching", "temperature_scaling"}


@every
@definition_test
def test_scores_equal_a_second_definition(name: str, K: int, D: int, extra: int, seed: int) -> None:
    check_definition(name, DEFINITIONS, random_problem(K, D, n=30, seed=seed, extra=extra))


@every
def test_held_out_images_are_used_to_calibrate_only(name: str) -> None:
    assert uses_held_out_images(name) == (name in CALIBRATED)


@every
def test_negative_features_have_a_score(name: str) -> None:
    problem = random_problem(signed=True, n=120)
    assert np.isfinite(detector(name)(problem.test, problem.reference)).all()


@pytest.mark.parametrize("name", SATURATED)
def test_margins_that_tie_in_float32_are_told_apart(name: str) -> None:
    objective = CrossEntropy(1, 2, label_smoothing=0.0)
    with torch.no_grad():
        objective.head.weight.copy_(torch.tensor([[1.0], [0.0]]))
        objective.head.bias.zero_()
    margins = np.array([[18.0], [20.0], [25.0], [30.0]], dtype="f4")
    outputs = predict(objective, torch.from_numpy(margins), np.array([0, 0, 0, 1]))
    assert (softmax(outputs.logits, axis=1)[:, 0] == 1).all()  # in float32: all the same
    assert (np.diff(detector(name)(outputs, NO_HEAD._replace(train=outputs))) < 0).all()


def test_energy_of_huge_logits_is_finite() -> None:
    outputs = random_outputs()
    outputs.logits[:] = 1e4
    np.testing.assert_allclose(detector("energy")(outputs, NO_HEAD), -1e4 - np.log(4))


def test_a_class_without_predictions_has_no_template() -> None:
    test, _, reference = random_problem(n=150)
    train = reference.train
    scores = detector("kl_matching")(test, reference._replace(train=rows(train, train.log_probs.argmax(1) != 2)))
    assert np.isfinite(scores).all()


def test_a_temperature_needs_errors_and_informative_logits() -> None:
    test, _, reference = random_problem()
    train = reference.train
    right = reference._replace(train=train._replace(labels=train.log_probs.argmax(1)))
    with pytest.raises(NotApplicable, match="every label has its image's largest logit"):
        detector("temperature_scaling")(test, right)
    wrong = reference._replace(train=train._replace(labels=train.log_probs.argmin(1)))
    with pytest.raises(NotApplicable, match="the logits do not tell"):
        detector("temperature_scaling")(test, wrong)


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
        ("gen", {"M": 0}, ValueError, "M is 0"),
    ],
)
def test_senseless_hyperparameters_are_named(
    name: str, hyperparameters: dict[str, Any], error: type[Exception], says: str
) -> None:
    problem = random_problem(n=120)
    with pytest.raises(error, match=says):
        detector(name, **hyperparameters)(problem.test, problem.reference)


# ---- temperature


def nll_at(log_t: float, z: Array, labels: NDArray[np.int64]) -> float:
    return nll(log_softmax(z * np.exp(-log_t), axis=1), labels)


def brute_force(z: Array, labels: NDArray[np.int64], around: float) -> float:
    bounds = np.log(around) - 3, np.log(around) + 3
    found = minimize_scalar(nll_at, bounds=bounds, args=(z, labels), method="bounded", options={"xatol": 1e-10})
    return float(np.exp(found.x))


@pytest.mark.parametrize("scale", [0.001, 0.02, 0.157, 1, 1.49, 30, 1000])
def test_temperature_is_the_minimum_that_brute_force_finds(scale: float) -> None:
    z, labels = classifier(1000, 10, scale)
    found = temperature(z, labels)
    assert found == pytest.approx(brute_force(z, labels, scale), rel=1e-5)
    assert found == pytest.approx(scale, rel=0.15)


def test_temperature_of_logits_of_norm_1() -> None:
    """LogitNorm's own: one large logit among small ones, norm 1, float32, 5 % of the labels elsewhere"""
    random = np.random.default_rng(0)
    labels = random.integers(10, size=2000)
    z = 0.05 * random.normal(size=(2000, 10))
    said = np.where(random.random(2000) < 0.05, random.integers(10, size=2000), labels)
    z[np.arange(2000), said] += 0.12 + 0.05 * random.random(2000)
    z = (z / np.linalg.norm(z, axis=1, keepdims=True) * 0.3).astype(np.float32)
    found = temperature(z, labels)
    assert 0.01 < found < 0.1
    assert found == pytest.approx(brute_force(z.astype(np.float64), labels, 0.03), rel=1e-5)
    assert temperature(log_softmax(z.astype(np.float64), axis=1), labels) == pytest.approx(found, rel=1e-9)


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_temperature_follows_the_scale_and_no_constant_of_a_row(scale: float, seed: int) -> None:
    z, labels = classifier(60, 3, 1.0, seed)
    found = temperature(z, labels)
    assert temperature(scale * z, labels) == pytest.approx(scale * found, rel=1e-6)
    shifted = z + np.random.default_rng(seed).normal(size=(60, 1))
    assert temperature(shifted, labels) == pytest.approx(found, rel=1e-6)


@pytest.mark.parametrize(
    ("z", "labels", "message"),
    [
        (np.eye(3), [0, 1, 2], "T = 0"),  # all right
        (np.zeros((3, 3)), [0, 1, 2], "T = 0"),  # all tied with the largest
        (np.eye(3), [1, 2, 0], "T = infinity"),  # all wrong
        (np.array([[1, 0.0], [1, 0]]), [0, 1], "T = infinity"),  # right in half of two
        (np.array([[1e-9, 0]] * 3), [0, 0, 1], "outside"),
    ],
)
def test_no_best_temperature_is_said_so(z: Array, labels: list[int], message: str) -> None:
    with pytest.raises(NoTemperatureError, match=message):
        temperature(z, np.array(labels))


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_temperature_refuses_what_is_not_finite(bad: float) -> None:
    with pytest.raises(ValueError, match=r"NaN|not finite"):
        temperature(np.array([[0, bad], [1, 0]]), np.array([0, 0]))
