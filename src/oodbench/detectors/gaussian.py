"""Gaussians of the training features. All in float64 with a ridge relative to the variance.

Features that have collapsed onto their class means make float32 distances negative: AUROC 0.65 instead of 0.998.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from oodbench.detectors.reference import Array, NotApplicable, Reference, in_blocks
from oodbench.outputs import Outputs


def mahalanobis(test: Outputs, reference: Reference, ridge: float) -> Array:
    """min_k (f - m_k)' C^-1 (f - m_k), m_k the classes' means, C their common covariance   (Lee et al., 2018)

    On the last features, without input noise. C += ridge mean(diag C) I.
    """
    return tied_distances(test, reference, ridge)


def relative_mahalanobis(test: Outputs, reference: Reference, ridge: float) -> Array:
    """min_k (f - m_k)' C^-1 (f - m_k) - (f - m)' C_0^-1 (f - m), m and C_0 of all images   (Ren et al., 2021)"""
    features = reference.train.features
    mean = features.mean(0, dtype=np.float64)
    background = regularised(scatter(features, mean) / len(features), ridge)
    return tied_distances(test, reference, ridge) - distances(test.features, mean[None], background)[:, 0]


def gmm(test: Outputs, reference: Reference, ridge: float) -> Array:
    """-log sum_k pi_k N(f; m_k, C_k), a Gaussian a class; C_k += ridge mean(diag C) I, C their common covariance"""
    train = reference.train
    added = (
        ridge
        * np.trace(tied_covariance(train.features, train.labels))
        / train.features.shape[1]
        * np.eye(train.features.shape[1])
    )
    log_density = np.full(len(test.features), -np.inf)
    for features in by_class(
        train.features, train.labels
    ):  # a class at a time: K x N x D numbers would be 19 GB for CIFAR-100
        mean = features.mean(0, dtype=np.float64)
        factor = factored(scatter(features, mean) / len(features) + added)
        log_norm = np.log(np.diag(factor)).sum() + len(factor) / 2 * np.log(2 * np.pi)
        log_prior = np.log(len(features) / len(train.features))
        of_class = log_prior - distances(test.features, mean[None], factor)[:, 0] / 2 - log_norm
        log_density = np.logaddexp(log_density, of_class)
    return -log_density


def tied_distances(test: Outputs, reference: Reference, ridge: float) -> Array:
    """-> (N,), the squared Mahalanobis distance to the nearest class mean"""
    return distances(test.features, *tied_gaussians(reference.train.features, reference.train.labels, ridge)).min(1)


def tied_gaussians(features: Array, labels: NDArray[np.integer], ridge: float) -> tuple[Array, Array]:
    """(N, D), (N,) -> (K, D) class means, (D, D) lower triangular L with L L' their common regularised covariance"""
    means = np.stack([of_class.mean(0, dtype=np.float64) for of_class in by_class(features, labels)])
    return means, regularised(tied_covariance(features, labels), ridge)


def by_class(features: Array, labels: NDArray[np.integer]) -> Iterator[Array]:
    """The (n, D) features of each class that has an image."""
    for k in np.unique(labels):
        yield features[labels == k]


def scatter(features: Array, mean: Array) -> Array:
    """(N, D), (D,) -> (D, D), sum_i (f_i - m)(f_i - m)' in float64"""
    size = 16_384  # rows at a time
    blocks = (features[i : i + size].astype(np.float64) - mean for i in range(0, len(features), size))
    return sum((block.T @ block for block in blocks), np.zeros((len(mean), len(mean))))


def tied_covariance(features: Array, labels: NDArray[np.integer]) -> Array:
    """(N, D), (N,) -> (D, D), of the features about their classes' means"""
    scatters = (scatter(of_class, of_class.mean(0, dtype=np.float64)) for of_class in by_class(features, labels))
    return sum(scatters, np.zeros((features.shape[1],) * 2)) / len(features)


def regularised(covariance: Array, ridge: float) -> Array:
    """-> (D, D) lower triangular, L L' = C + ridge mean(diag C) I"""
    if ridge <= 0:
        raise ValueError(f"ridge is {ridge}; it must be positive, or a feature that never fires has no variance")
    return factored(covariance + ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance)))


def factored(covariance: Array) -> Array:
    """-> (D, D) lower triangular, L L' = C"""
    if not np.trace(covariance) > 0:
        raise NotApplicable("the training features do not vary within a class")
    return cholesky(covariance, lower=True)


def distances(features: Array, means: Array, factor: Array) -> Array:
    """(N, D), (K, D), (D, D) -> (N, K), |L^-1 (f - m_k)|^2: never negative, by differences and not by |a|^2 - 2ab"""
    centre = means.mean(0)

    def whitened(x: Array) -> Array:
        return solve_triangular(factor, (x - centre).T, lower=True, check_finite=False).T

    own = whitened(means)
    return in_blocks(lambda x: cdist(whitened(x.astype(np.float64)), own, "sqeuclidean"), features)
