"""Calibration metrics of three versions of the probabilities, and temperature scaling.

Every number is a function of log-probabilities, (N, K), and labels, (N,). The versions:

own                 the predictive probabilities of the loss. Rows need not sum to one: a (K+1)-softmax leaves out the
                    abstain class, and K sigmoids are independent.
normalised          softmax over the K classes of log p. A (K+1)-softmax becomes the K-softmax of the same logits,
                    sigmoids are divided by their sum. Left out for a K-softmax, which does not change.
temperature_scaled  softmax over the K classes of log p / T, each half of the images with the T fitted to the other.
                    For any softmax this is softmax(logits / T), as log p differs from the logits by a constant of the
                    row. With T = 1 it is the normalised version.
"""

from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, logsumexp

from oodbench.evaluation.arrays import Array, Labels, checked_log_probs
from oodbench.evaluation.metrics import CALIBRATION_METRICS
from oodbench.outputs import Outputs

LARGEST = 1e6  # temperatures are sought from its inverse to it


class NoTemperatureError(ValueError):
    """No finite temperature is the best one."""


def calibration(outputs: Outputs, seed: int) -> dict[str, dict[str, Any] | None]:
    """-> {"own", "normalised" where rows do not sum to one, "temperature_scaled"}, see the module.

    Each is {metric of CALIBRATION_METRICS: value}. "temperature_scaled" has also the two "temperatures", and is None
    where a half has none (`temperature`).
    """
    log_probs, labels = outputs.log_probs, outputs.labels
    numbers: dict[str, dict[str, Any] | None] = {"own": scores(log_probs, labels)}
    if np.abs(logsumexp(log_probs, axis=1)).max() > 1e-6:  # a softmax of float32 logits is off by 1e-15
        numbers["normalised"] = scores(renormalised(log_probs), labels)
    try:
        scaled, temperatures = cross_fitted(log_probs, labels, seed)
    except NoTemperatureError:
        numbers["temperature_scaled"] = None
    else:
        numbers["temperature_scaled"] = scores(scaled, labels) | {"temperatures": list(temperatures)}
    return numbers


def scores(log_probs: Array, labels: Labels) -> dict[str, float]:
    """(N, K), (N,) -> {metric of CALIBRATION_METRICS: value}"""
    return {name: metric(log_probs, labels) for name, metric in CALIBRATION_METRICS.items()}


def renormalised(log_probs: Array) -> Array:
    """(N, K) -> (N, K), log of p_k / sum_j p_j"""
    return log_softmax(log_probs, axis=1)


def temperature(logits: Array, labels: Labels) -> float:
    """(N, K), (N,) -> T > 0 that minimises the NLL of softmax(logits / T) (Guo et al., 2017, sec. 4.2).

    The NLL is convex in 1/T with the derivative mean(E_p[z] - z_y), which rises with 1/T: its zero is found by Brent's
    method over log T, for any scale of the logits: T(c z) = c T(z). Raises NoTemperatureError where every label has the
    largest logit of its image (T -> 0 is best), where labels' logits are no larger than the image's average one
    (T -> infinity), and where T would be outside 1e-6 to 1e6.
    """
    z = checked_log_probs(np.asarray(logits, dtype=np.float64), labels)
    if not np.isfinite(z).all():
        raise ValueError("logits are not finite; a temperature cannot be fitted to them")
    z = z - z.max(1, keepdims=True)
    of_label = z[np.arange(len(z)), labels].mean()
    if of_label == 0 or of_label <= z.mean():
        best = "0: every label has its image's largest logit" if of_label == 0 else "infinity: the logits do not tell"
        raise NoTemperatureError(f"{len(z)} images have no best temperature, the NLL falls towards T = {best}")

    def slope(log_t: float) -> float:
        p = np.exp(z / np.exp(log_t))
        return float(((p * z).sum(1) / p.sum(1)).mean() - of_label)

    ends = -np.log(LARGEST), np.log(LARGEST)
    if slope(ends[0]) <= 0 or slope(ends[1]) >= 0:
        raise NoTemperatureError(f"the best temperature of {len(z)} images is outside {1 / LARGEST:g} to {LARGEST:g}")
    return float(np.exp(brentq(slope, *ends, xtol=1e-12)))


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
