"""Detectors of logits z (N, K) and of probabilities p (N, K), the predictive probabilities of the loss, normalised."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
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
    b = inverse_temperature(class_logits(reference.calibration), reference.calibration.labels)
    return map_logits(lambda z: log_odds_of_error(b * z), test)


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


def inverse_temperature(z: Array, labels: NDArray[np.integer]) -> float:
    """(N, K), (N,) -> b of least mean -log softmax(b z)_y, which is convex in b: the root of its slope

    Raises NotApplicable if there is none: all images are correctly classified, or no more of them than by chance.
    """
    z_label = z[np.arange(len(z)), labels]

    def slope(b: float) -> float:
        expected = in_blocks(lambda z: (softmax(b * z.astype(np.float64), axis=1) * z).sum(1), z)
        return float(np.mean(expected - z_label))

    if (z.max(1) == z_label).all():
        raise NotApplicable("every calibration image is correctly classified, so no temperature is the best")
    if slope(0.0) >= 0:
        raise NotApplicable("the logits of the calibration images tell nothing about their classes")
    high = 1.0
    while slope(high) < 0:
        high *= 2
    return float(brentq(slope, 0.0, high, rtol=1e-6))
