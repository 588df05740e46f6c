"""OpenMax: extreme value theory for the distances of logits from the class means."""

import numpy as np
from scipy.optimize import brentq
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from oodbench.detectors.head import correctly_classified
from oodbench.detectors.reference import Array, Reference, class_logits, map_logits, mean_largest_logit
from oodbench.outputs import Outputs

SHIFT = 10_000  # of libMR, the authors' code: moves the tail before a Weibull distribution is fitted to it


def openmax(test: Outputs, reference: Reference, alpha: int, tail: int) -> Array:
    """log(P(unknown) / (1 - P(unknown))), which ranks like P(unknown)   (Bendale & Boult, 2016, algorithms 1 and 2)

    P = softmax([v, u]),   v_k = z_k (1 - a_k w_k), u = sum_k z_k a_k w_k. w_k is the Weibull probability of the
    distance |z - mean z of class k|, fitted to the `tail` largest of the correctly classified training images of
    class k; a_k = (alpha + 1 - rank of z_k) / alpha for the alpha largest logits, else 0. It has no numbers where the
    training images' mean max_k z_k is not positive.
    """
    if alpha < 1 or tail < 1:
        raise ValueError(f"alpha is {alpha}, tail is {tail}; both must be at least 1")
    mean_largest_logit(reference.train)  # raises NotApplicable where that is not positive
    centres, tails = [], []
    for rows in correctly_classified(reference.train):
        z = class_logits(reference.train)[rows].astype(np.float64)
        centres.append(z.mean(0))
        tails.append(np.sort(np.linalg.norm(z - centres[-1], axis=1))[-tail:])

    def unknown(z: Array) -> Array:
        distances = cdist(z, np.stack(centres))
        w = np.stack([tail_probability(d, t) for d, t in zip(distances.T, tails, strict=True)], axis=1)
        rank = np.argsort(np.argsort(-z, axis=1, kind="stable"), axis=1)
        moved = z * w * np.maximum(alpha - rank, 0) / alpha
        return moved.sum(1) - logsumexp(z - moved, axis=1)

    return map_logits(unknown, test)


def tail_probability(distance: Array, tail: Array) -> Array:
    """(N,), (n,) ascending -> (N,), cumulative Weibull distribution fitted to the tail, at each distance"""
    shape, log_scale = fit_weibull(np.log1p((tail - tail[0]) / SHIFT))
    x = np.maximum((distance - tail[0]) / SHIFT, -1 + 1e-9)  # the shifted distribution begins at -1
    return -np.expm1(-np.exp(np.minimum(shape * (np.log1p(x) - log_scale), 700)))  # e^700 is finite


def fit_weibull(log_x: Array) -> tuple[float, float]:
    """(n,) logarithms -> shape c and log scale of maximum likelihood: sum x^c log x / sum x^c - 1/c = mean log x

    A tail without spread gives a step function.
    """
    middle, spread = float(log_x.mean()), float(log_x.std())
    if spread < 1e-12:
        return 1e12, middle
    y = (log_x - middle) / spread

    def slope(c: float) -> float:
        weight = np.exp(c * (y - y.max()))
        return float(weight @ y / weight.sum() - 1 / c)

    high = 1.0
    while slope(high) < 0:  # the slope rises from -inf to max y
        high *= 2
    c = float(brentq(slope, 1e-6, high))
    return c / spread, middle + spread * float(logsumexp(c * y) - np.log(len(y))) / c
