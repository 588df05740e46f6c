"""The expected calibration error without bins (Blasiok & Nakkiran, 2024).

f the N confidences, y their 0/1 correctness, K_s the Gaussian kernel of width s on [0, 1], reflected at both ends:

    R_s(t) = 1/N sum_i K_s(t, f_i) (y_i - f_i),    e(s) = integral over [0, 1] of |R_s(t)| dt

Cosines diagonalise the kernel, K_s(t, f) = 1 + 2 sum_k exp(-(pi k s)^2 / 2) cos(pi k t) cos(pi k f). So R_s is a cosine
series, from which e follows up to rounding: its integral between the points where it changes its sign.

scipy is imported inside the functions: it takes half a second, for which the numbers of a finished run do not wait.
"""

from collections.abc import Iterable
from math import ceil

import numpy as np

from oodbench.evaluation.arrays import Array, Labels
from oodbench.evaluation.metric import SHARE, IDMetric
from oodbench.evaluation.metrics.classification import checked_confidence, predictions

SMALLEST_WIDTH = 2.0**-10
GRID = 2**13  # intervals of [0, 1], an eighth of the smallest width, in which changes of sign are looked for


def smooth_ece(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> e(s) at the width with e(s) = s, in [0, 1]; lower is better (Blasiok & Nakkiran, 2024).

    e(s) = integral over [0, 1] of |1/N sum_i K_s(t, f_i) (y_i - f_i)| dt, f the largest probability, y 1 where it is
    right and 0 elsewhere, K_s the Gaussian kernel of width s, reflected at both ends. e falls as s grows. If e(s) < s
    already at s = 2^-10, the result is e(2^-10).
    """
    from scipy.optimize import brentq

    confidence, correct = predictions(log_probs, labels)
    confidence = checked_confidence(confidence)

    def excess(s: float) -> float:
        return smoothed_error(series, s) - s

    width, series = 1.0, np.zeros(0)
    while width > SMALLEST_WIDTH:
        width /= 2
        terms = range(len(series), ceil(2.7 / width))  # the next would be damped by exp(-36)
        series = np.append(series, residual_series(confidence, correct - confidence, terms))
        if excess(width) >= 0:
            return smoothed_error(series, brentq(excess, width, 2 * width, xtol=1e-9))
    return smoothed_error(series, width)


def residual_series(confidence: Array, residual: Array, terms: Iterable[int]) -> Array:
    """(N,), (N,) -> (terms,), for each k 2/N sum_i r_i cos(pi k f_i), half of it for k = 0"""
    return np.array([(1 + (k > 0)) * (np.cos(np.pi * k * confidence) @ residual) for k in terms]) / len(residual)


def smoothed_error(series: Array, s: float) -> float:
    """(terms,) -> e(s)"""
    from scipy.fft import dct

    k = np.arange(len(series))
    damped = series * np.exp(-((np.pi * k * s) ** 2) / 2)
    padded = np.zeros(GRID + 1)
    padded[: len(series)] = damped
    padded[1:] /= 2
    R = dct(padded, type=1)  # at 0, 1 / GRID, ..., 1
    i = np.flatnonzero(np.diff(R >= 0))
    zeros = (i + R[i] / (R[i] - R[i + 1])) / GRID
    t = np.concatenate([[0], zeros, [1]])
    waves = np.sin(np.pi * np.outer(t, k[1:])) / (np.pi * k[1:])
    return float(np.abs(np.diff(damped[0] * t + waves @ damped[1:])).sum())


SMOOTH_ECE = IDMetric(
    name="smooth_ece",
    function=smooth_ece,
    resampled=None,
    higher_is_better=False,
    unit=SHARE,
    heading="smooth ECE",
    definition="ECE with a Gaussian kernel in the place of bins, as wide as the error that results",
    source="Blasiok & Nakkiran, 2024",
    calibration=True,
    top_level=False,
)
