"""Calibration metrics of three versions of the probabilities, and temperature scaling.

Every number is a function of log-probabilities, (N, K), and labels, (N,). The versions:

own                 the predictive probabilities of the loss. Rows need not sum to one: a (K+1)-softmax leaves out the
                    abstain class, and K sigmoids are independent.
normalised          softmax over the K classes of log p. A (K+1)-softmax becomes the K-softmax of the same logits,
                    sigmoids are divided by their sum. Left out for a K-softmax, which does not change.
temperature_scaled  softmax over the K classes of log p / T, each half of the test images with the T fitted to the
                    other. For any softmax this is softmax(logits / T), as log p differs from the logits by a constant
                    of the row. With T = 1 it is the normalised version.
"""

from typing import Any

import numpy as np
from scipy.special import log_softmax, logsumexp

from oodbench.detectors.logits import NoTemperatureError, temperature
from oodbench.evaluation.arrays import Array, Labels
from oodbench.evaluation.metrics import CALIBRATION_METRICS
from oodbench.outputs import Outputs


def calibration(outputs: Outputs, seed: int) -> dict[str, dict[str, Any] | None]:
    """-> {"own", "normalised" where rows do not sum to one, "temperature_scaled"}, see the module.

    Each is {metric of CALIBRATION_METRICS: value}. "temperature_scaled" has also the two "temperatures", and is None
    where a half has none (`temperature`).
    """
    log_probs, labels = outputs.log_probs, outputs.labels
    numbers: dict[str, dict[str, Any] | None] = {"own": calibration_metrics(log_probs, labels)}
    if np.abs(logsumexp(log_probs, axis=1)).max() > 1e-6:  # a softmax of float32 logits is off by 1e-15
        numbers["normalised"] = calibration_metrics(renormalised(log_probs), labels)
    try:
        scaled, temperatures = cross_fitted(log_probs, labels, seed)
    except NoTemperatureError:
        numbers["temperature_scaled"] = None
    else:
        numbers["temperature_scaled"] = calibration_metrics(scaled, labels) | {"temperatures": list(temperatures)}
    return numbers


def calibration_metrics(log_probs: Array, labels: Labels) -> dict[str, float]:
    """(N, K), (N,) -> {metric of CALIBRATION_METRICS: value}"""
    return {name: metric(log_probs, labels) for name, metric in CALIBRATION_METRICS.items()}


def renormalised(log_probs: Array) -> Array:
    """(N, K) -> (N, K), log of p_k / sum_j p_j"""
    return log_softmax(log_probs, axis=1)


def cross_fitted(log_probs: Array, labels: Labels, seed: int) -> tuple[Array, tuple[float, float]]:
    """(N, K), (N,) -> (N, K) temperature-scaled log-probabilities, and the two temperatures.

    Each half of the images is scaled by the temperature fitted to the other half, so that no image is evaluated with a
    temperature fitted to it. temperatures[h] was fitted to half h. Raises NoTemperatureError as `temperature` does,
    and for one image, which has no halves.
    """
    if len(labels) == 1:
        raise NoTemperatureError("one image cannot be halved")
    half = halves(labels, seed)
    fitted = temperature(log_probs[half == 0], labels[half == 0]), temperature(log_probs[half == 1], labels[half == 1])
    other = np.array(fitted)[1 - half]
    return renormalised(log_probs / other[:, None]), fitted


def halves(labels: Labels, seed: int) -> Labels:
    """(N,) -> (N,), 0 or 1: of every class half of the images, drawn by seed; all sizes differ by one at most."""
    drawn = np.random.default_rng(seed).permutation(len(labels))
    by_class = drawn[np.argsort(labels[drawn], kind="stable")]
    half = np.empty(len(labels), dtype=np.int64)
    half[by_class] = np.arange(len(labels)) % 2
    return half
