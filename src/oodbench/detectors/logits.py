"""Scores of logits and probabilities. z the K classes' logits, p the loss's own reading of them, made to sum to one."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    class_logits,
    in_blocks,
    normalised,
    of_log_probs,
    of_logits,
    rows_of_each,
)
from oodbench.outputs import Outputs


def ood_score(test: Outputs, reference: Reference) -> Array:
    """The loss's own OOD score, `Objective.ood_score`"""
    return test.ood_score


def msp(test: Outputs, reference: Reference) -> Array:
    """-max_k p_k   (Hendrycks & Gimpel, 2017), with the loss's own reading of its logits as p"""
    return -np.exp(test.log_probs.max(1))


def maxlogit(test: Outputs, reference: Reference) -> Array:
    """-max_k z_k over the K classes   (Hendrycks et al., 2022)"""
    return -of_logits(lambda z: z.max(1), test)


def energy(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-T log sum_k exp(z_k / T) over the K classes   (Liu et al., 2020, eq. 4)"""
    return -temperature * of_logits(lambda z: logsumexp(z / temperature, axis=1), test)


def entropy(test: Outputs, reference: Reference) -> Array:
    """-sum_k p_k log p_k, in nats   (Shannon, 1948)"""
    return of_log_probs(lambda log_p: -(np.exp(log_p) * log_p).sum(1), test)


def gen(test: Outputs, reference: Reference, gamma: float, M: int) -> Array:
    """sum_m (p_m (1 - p_m))^gamma over the M largest p   (Liu, Lochman & Zach, 2023)

    In logarithms, and 1 - p of the largest as the sum of the others: (1 - p)^0.1 still tells 1e-30 from 0.
    """
    if M < 1:
        raise ValueError(f"M is {M}; at least one class is needed")

    def score(log_p: Array) -> Array:
        log_p = -np.sort(-log_p, axis=1)
        log_rest = logsumexp(log_p[:, 1:], axis=1, keepdims=True)
        log_not_p = np.concatenate([log_rest, np.log1p(-np.exp(log_p[:, 1:]))], axis=1)
        return np.exp(gamma * (log_p + log_not_p))[:, :M].sum(1)

    return of_log_probs(score, test)


def kl_matching(test: Outputs, reference: Reference) -> Array:
    """min_k KL(p || q_k), q_k the mean p of the calibration images that are called k   (Hendrycks et al., 2022)

    A class that no calibration image is called has no q_k.
    """
    log_probs = reference.calibration.log_probs
    called = rows_of_each(log_probs.argmax(1)).values()
    log_q = np.stack([logsumexp(normalised(log_probs[rows]), axis=0) - np.log(len(rows)) for rows in called])

    def divergence(log_p: Array) -> Array:
        p = np.exp(log_p)
        return ((p * log_p).sum(1, keepdims=True) - p @ log_q.T).min(1)

    return of_log_probs(divergence, test)


def temperature_scaling(test: Outputs, reference: Reference) -> Array:
    """-max_k softmax(z / T)_k at the T of least -log p_y over the calibration images   (Guo et al., 2017)

    As log-odds of being right, of the same order, which do not saturate.
    """
    b = inverse_temperature(class_logits(reference.calibration), reference.calibration.labels)
    return of_logits(lambda z: log_odds_of_error(b * z), test)


def odin_unperturbed(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-max_k softmax(z / T)_k   (Liang, Li & Srikant, 2018, eq. 1), without the step along the images' gradient

    As log-odds of being right, of the same order, which do not saturate.
    """
    return of_logits(lambda z: log_odds_of_error(z / temperature), test)


def log_odds_of_error(z: Array) -> Array:
    """(N, K) -> log((1 - p) / p) for the largest p of softmax(z): finite where p is 1."""
    z = np.sort(z, axis=1)
    return logsumexp(z[:, :-1], axis=1) - z[:, -1]


def inverse_temperature(z: Array, labels: NDArray[np.integer]) -> float:
    """(N, K), (N,) -> the b of least mean -log softmax(b z)_y, which is convex in b: where its slope is 0.

    Raises NotApplicable where there is none: all images right, or no more of them than by chance.
    """
    own = z[np.arange(len(z)), labels]

    def slope(b: float) -> float:
        expected = in_blocks(lambda z: (softmax(b * z.astype(np.float64), axis=1) * z).sum(1), z)
        return float(np.mean(expected - own))

    if (z.max(1) == own).all():
        raise NotApplicable("every calibration image is classified right, and no temperature is the best")
    if slope(0.0) >= 0:
        raise NotApplicable("the logits of the calibration images say nothing of their classes")
    high = 1.0
    while slope(high) < 0:
        high *= 2
    return float(brentq(slope, 0.0, high, rtol=1e-6))
