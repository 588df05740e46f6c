"""Detectors that use the directions in which training features vary little, in float64."""

import numpy as np
from scipy.special import log_expit, logsumexp

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    gram_matrix,
    in_blocks,
    map_logits,
    mean_largest_logit,
    unit_vectors,
)
from oodbench.outputs import Outputs


def vim(test: Outputs, reference: Reference, dim: int | None) -> Array:
    """a |N'(f - u)| - log sum_k exp z_k   (Wang et al., 2022)

    u = -pinv(W) b; N: the D - dim weakest eigenvectors of mean (f - u)(f - u)' over the training images; a = mean max_k
    z_k / mean |N'(f - u)| over them, and positive. dim null: D // 2, at most 1000, close to the paper's choices.
    """
    train, (origin, N) = reference.train, weak_directions(reference, dim)
    typical = residuals(train.features, origin, N).mean()
    if not typical > 0:
        raise NotApplicable(f"the training features vary in no direction beyond the {len(N) - N.shape[1]} strongest")
    a = mean_largest_logit(train) / typical
    return a * residuals(test.features, origin, N) - map_logits(lambda z: logsumexp(z, axis=1), test)


def residual(test: Outputs, reference: Reference, dim: int | None) -> Array:
    """|N'(f - u)|, the distance from the principal space in ViM   (Wang et al., 2022)"""
    return residuals(test.features, *weak_directions(reference, dim))


def weak_directions(reference: Reference, dim: int | None) -> tuple[Array, Array]:
    """-> u (D,), N (D, D - dim). Raises ValueError unless 0 < dim < D."""
    (W, b), features = reference.weights(), reference.train.features
    D = features.shape[1]
    dim = min(D // 2, 1000) if dim is None else dim
    if not 0 < dim < D:
        raise ValueError(f"dim is {dim} of {D} features; it must be at least 1 and less than {D}, or null")
    origin = -np.linalg.pinv(W, rtol=1e-5) @ b  # rows of W may sum to 0 up to rounding, which must not be inverted
    second_moment = gram_matrix(lambda f: f - origin, features) / len(features)
    return origin, np.linalg.eigh(second_moment).eigenvectors[:, : D - dim]


def residuals(features: Array, origin: Array, N: Array) -> Array:
    """(M, D), (D,), (D, D - dim) -> (M,), |N'(f - u)|"""
    return in_blocks(lambda f: np.linalg.norm((f - origin) @ N, axis=1), features)


def pnml(test: Outputs, reference: Reference) -> Array:
    """log sum_k p_k / (p_k + (1 - p_k) p_k^g),   g = h / (1 + h), h = q' (Q'Q)^-1 q   (Bibas et al., 2021)

    q = f / |f|, Q those of the training images, p = softmax(W q + b). The regret of the last layer, in nats.
    """
    W, b = reference.weights()
    products = gram_matrix(lambda f: unit_vectors(f.astype(np.float64)), reference.train.features)  # Q'Q
    inverse = np.linalg.pinv(products, hermitian=True, rtol=1e-12)  # singular if a feature is always 0

    def regret(features: Array) -> Array:
        q = unit_vectors(features.astype(np.float64))
        h = ((q @ inverse) * q).sum(1, keepdims=True)
        z = q @ W.T + b
        log_p = z - logsumexp(z, axis=1, keepdims=True)
        log_odds = log_p - np.log(-np.expm1(np.minimum(log_p, -np.finfo(np.float64).tiny)))
        return logsumexp(log_expit(log_odds - h / (1 + h) * log_p), axis=1)

    return in_blocks(regret, test.features)
