"""The three versions of the probabilities, and temperatures fitted to the other half."""

import numpy as np
import pytest
from helpers.toy import classifier
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import log_softmax

from oodbench.detectors.logits import temperature
from oodbench.evaluation.calibration import calibration, calibration_metrics, cross_fitted, halves, renormalised
from oodbench.evaluation.metrics.classification import brier, confidence_ece
from oodbench.outputs import Outputs

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def outputs(log_probs: Array, labels: Labels) -> Outputs:
    n = len(labels)
    return Outputs(np.zeros((n, 1), np.float32), log_probs.astype(np.float32), log_probs, np.zeros(n), labels)


# ---- halves and versions of the probabilities


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 100))
def test_halves_share_every_class(labels: list[int], seed: int) -> None:
    y, half = np.array(labels), halves(np.array(labels), seed)
    for k in range(5):
        assert abs((half[y == k] == 0).sum() - (half[y == k] == 1).sum()) <= 1
    assert 0 <= (half == 0).sum() - (half == 1).sum() <= 1
    assert (half == halves(y, seed)).all()


def test_halves_are_drawn_by_the_seed() -> None:
    labels = np.arange(100) % 3
    assert (halves(labels, 0) != halves(labels, 1)).any()


def test_each_half_is_scaled_by_the_temperature_of_the_other() -> None:
    z, labels = classifier(500, 4, 3.0)
    log_probs, half = log_softmax(z, axis=1), halves(labels, 5)
    scaled, temperatures = cross_fitted(log_probs, labels, 5)
    for h in (0, 1):
        assert temperatures[h] == pytest.approx(temperature(z[half == h], labels[half == h]), rel=1e-9)
        expected = log_softmax(z[half != h] / temperatures[h], axis=1)
        np.testing.assert_allclose(scaled[half != h], expected, rtol=1e-8, atol=1e-10)


def test_a_label_does_not_move_its_own_half() -> None:
    z, labels = classifier(500, 4, 3.0)
    half = halves(labels, 1)
    swapped = labels.copy()
    i, j = np.flatnonzero((half == 0) & (labels == 0))[0], np.flatnonzero((half == 0) & (labels == 1))[0]
    swapped[[i, j]] = 1, 0
    before, after = (temperature(z[half == 1], y[half == 1]) for y in (labels, swapped))
    assert before == after
    assert temperature(z[half == 0], labels[half == 0]) != temperature(z[half == 0], swapped[half == 0])


def test_a_temperature_calibrates_a_softmax() -> None:
    z, labels = classifier(4000, 10, 0.03)
    found = calibration(outputs(log_softmax(z, axis=1), labels), 0)
    assert found.keys() == {"own", "temperature_scaled"}
    own, scaled = found["own"], found["temperature_scaled"]
    assert own is not None
    assert scaled is not None
    assert own["ece"] > 0.4
    assert scaled["ece"] < 0.04
    assert scaled["nll"] < own["nll"]
    assert scaled["temperatures"] == pytest.approx([0.03, 0.03], rel=0.1)
    assert {type(v) for row in (own, scaled) for v in row.values()} == {float, list}


def test_a_little_probability_elsewhere_is_a_version_of_its_own() -> None:
    z, labels = classifier(300, 4, 2.0)
    largest = np.logaddexp.reduce(z, axis=1, keepdims=True)
    with_one_more = log_softmax(np.concatenate([z, largest + np.log(1e-5)], axis=1), axis=1)[:, :4]
    assert "normalised" in calibration(outputs(with_one_more, labels), 0)
    assert "normalised" not in calibration(outputs(log_softmax(z.astype("f4").astype("f8"), axis=1), labels), 0)


def test_an_abstain_class_and_sigmoids_have_three_versions() -> None:
    z, labels = classifier(3000, 4, 2.0)
    abstain = np.full((3000, 1), 1.0)
    with_one_more = log_softmax(np.concatenate([z, abstain], axis=1), axis=1)[:, :4]
    sigmoids = -np.logaddexp(0, -z)
    for log_probs, normal in ((with_one_more, log_softmax(z, axis=1)), (sigmoids, log_softmax(sigmoids, axis=1))):
        found = calibration(outputs(log_probs, labels), 0)
        assert found["own"] == calibration_metrics(log_probs, labels)
        assert found["normalised"] == pytest.approx(calibration_metrics(normal, labels))
        np.testing.assert_allclose(np.exp(renormalised(log_probs)).sum(1), 1)
    scaled = calibration(outputs(with_one_more, labels), 0)["temperature_scaled"]
    of_plain_softmax = calibration(outputs(log_softmax(z, axis=1), labels), 0)["temperature_scaled"]
    assert scaled is not None
    assert of_plain_softmax is not None
    assert scaled.pop("temperatures") == pytest.approx(of_plain_softmax.pop("temperatures"))
    assert scaled == pytest.approx(of_plain_softmax)  # the abstain class does not enter


def test_calibration_without_a_mistake_has_no_temperature() -> None:
    log_probs, labels = np.log(np.full((30, 3), 0.1) + 0.7 * np.eye(3).repeat(10, axis=0)), np.arange(3).repeat(10)
    found = calibration(outputs(log_probs, labels), 0)
    assert found["temperature_scaled"] is None
    assert found["own"] == calibration_metrics(log_probs, labels)


def test_one_image_has_no_temperature() -> None:
    numbers = calibration(outputs(np.log([[0.7, 0.3]]), np.array([1])), seed=0)
    assert numbers["temperature_scaled"] is None
    assert numbers["own"] is not None


def test_own_numbers_are_those_of_the_metrics() -> None:
    z, labels = classifier(200, 4, 2.0)
    p = log_softmax(z, axis=1)
    assert calibration_metrics(p, labels)["ece"] == confidence_ece(p, labels)
    assert calibration_metrics(p, labels)["brier"] == brier(p, labels)
