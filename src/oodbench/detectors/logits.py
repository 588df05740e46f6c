"""Detectors of logits z (N, K) and of probabilities p (N, K), the predictive probabilities of the loss, normalised."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    blocks,
    check_positive,
    class_logits,
    in_blocks,
    map_log_probs,
    map_logits,
    negated_probability,
    normalised,
    rows_by_label,
)
from oodbench.outputs import Outputs

LARGEST = 1e6  # temperatures are sought from its inverse to it


class NoTemperatureError(NotApplicable):
    """No finite temperature is the best one."""


def ood_score(test: Outputs, reference: Reference) -> Array:
    """OOD score that belongs to the loss, its `Objective.ood_score`"""
    return test.ood_score


@negated_probability
def msp(test: Outputs, reference: Reference) -> Array:
    """-max_k p_k   (Hendrycks & Gimpel, 2017), with the predictive probabilities of the loss, not normalised

    Images whose p rounds to 1 tie, here in float64 and sooner in OpenOOD's float32: FPR@95 with OOD as the positives is
    100 % where more than 5 % of the OOD images do. A loss's own score -max_k log p_k has the same order without ties.
    """
    return -np.exp(test.log_probs.max(1))


def maxlogit(test: Outputs, reference: Reference) -> Array:
    """-max_k z_k   (Hendrycks et al., 2022)"""
    return -map_logits(lambda z: z.max(1), test)


def energy(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-T log sum_k exp(z_k / T)   (Liu et al., 2020, eq. 4)"""
    check_positive(temperature=temperature)
    return -temperature * map_logits(lambda z: logsumexp(z / temperature, axis=1), test)


def entropy(test: Outputs, reference: Reference) -> Array:
    """-sum_k p_k log p_k, in nats   (Shannon, 1948)"""
    return map_log_probs(lambda log_p: -(np.exp(log_p) * log_p).sum(1), test)


def gen(test: Outputs, reference: Reference, gamma: float, M: int) -> Array:
    """sum_m (p_m (1 - p_m))^gamma over the M largest p   (Liu, Lochman & Zach, 2023)

    Computed in logarithms, with 1 - p of the largest as the sum of the others: (1 - p)^0.1 separates 1e-30 from 0.
    """
    check_positive(gamma=gamma)
    if M < 1:
        raise ValueError(f"M is {M}; at least one class is needed")

    def score(log_p: Array) -> Array:
        log_p = -np.sort(-log_p, axis=1)
        log_rest = logsumexp(log_p[:, 1:], axis=1, keepdims=True)
        log_not_p = np.concatenate([log_rest, np.log1p(-np.exp(log_p[:, 1:]))], axis=1)
        return np.exp(gamma * (log_p + log_not_p))[:, :M].sum(1)

    return map_log_probs(score, test)


def kl_matching(test: Outputs, reference: Reference) -> Array:
    """min_k KL(p || q_k), q_k the mean p of the calibration images predicted as k   (Hendrycks et al., 2022)

    A class that is predicted for no calibration image has no q_k.
    """
    log_probs = reference.calibration.log_probs
    predicted = rows_by_label(log_probs.argmax(1)).values()
    log_q = np.stack([logsumexp(normalised(log_probs[rows]), axis=0) - np.log(len(rows)) for rows in predicted])

    def divergence(log_p: Array) -> Array:
        p = np.exp(log_p)
        return ((p * log_p).sum(1, keepdims=True) - p @ log_q.T).min(1)

    return map_log_probs(divergence, test)


def temperature_scaling(test: Outputs, reference: Reference) -> Array:
    """-max_k softmax(z / T)_k, T of least mean -log p_y over the calibration images   (Guo et al., 2017)

    Returned as the log-odds log((1 - p) / p) of the largest p: the same order, and it does not saturate.
    """
    T = temperature(class_logits(reference.calibration), reference.calibration.labels)
    return map_logits(lambda z: log_odds_of_error(z / T), test)


def odin_unperturbed(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-max_k softmax(z / T)_k   (Liang, Li & Srikant, 2018, eq. 1), without input perturbation

    Returned as the log-odds log((1 - p) / p) of the largest p: the same order, and it does not saturate.
    """
    check_positive(temperature=temperature)
    return map_logits(lambda z: log_odds_of_error(z / temperature), test)


def log_odds_of_error(z: Array) -> Array:
    """(N, K) -> (N,), log((1 - p) / p) for the largest p of softmax(z): finite where p rounds to 1"""
    z = np.sort(z, axis=1)
    return logsumexp(z[:, :-1], axis=1) - z[:, -1]


def temperature(logits: Array, labels: NDArray[np.integer]) -> float:
    """(N, K), (N,) -> T > 0 of least mean -log softmax(logits / T)_y   (Guo et al., 2017, sec. 4.2)

    The NLL is convex in 1/T with the derivative mean(E_p[z] - z_y), which rises with 1/T: its zero is found by Brent's
    method over log T, for any scale of the logits: T(c z) = c T(z). Raises NoTemperatureError where every label has the
    largest logit of its image (T -> 0 is best), where labels' logits are no larger than the image's average one
    (T -> infinity), and where T would be outside 1e-6 to 1e6; ValueError for logits that are not finite.
    """
    if not all(np.isfinite(z).all() for (z,) in blocks(logits)):
        raise ValueError("logits, or log-probabilities, are not finite; a temperature cannot be fitted to them")

    def mean(function: Callable[[Array], Array]) -> float:
        """Mean over images of a function of z, logits in float64 less the largest of their row"""
        return float(in_blocks(lambda z: function(z.astype(np.float64) - z.max(1, keepdims=True)), logits).mean())

    def expected(z: Array, log_t: float) -> Array:
        p = np.exp(z / np.exp(log_t))
        return (p * z).sum(1) / p.sum(1)

    rows = np.arange(len(logits))
    of_label = float((logits[rows, labels].astype(np.float64) - logits.max(1)).mean())
    if of_label == 0 or of_label <= mean(lambda z: z.mean(1)):
        best = "0: every label has its image's largest logit" if of_label == 0 else "infinity: the logits do not tell"
        raise NoTemperatureError(f"{len(logits)} images have no best temperature, the NLL falls towards T = {best}")

    def slope(log_t: float) -> float:
        return mean(lambda z: expected(z, log_t)) - of_label

    ends = -np.log(LARGEST), np.log(LARGEST)
    if slope(ends[0]) <= 0 or slope(ends[1]) >= 0:
        raise NoTemperatureError(f"the best temperature is outside {1 / LARGEST:g} to {LARGEST:g}")
    return float(np.exp(brentq(slope, *ends, xtol=1e-12)))
