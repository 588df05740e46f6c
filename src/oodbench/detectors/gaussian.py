"""Detectors that fit Gaussians to the training features, with a ridge relative to the variance.

In float64: once features have collapsed onto their class means, float32 distances become negative (AUROC 0.65 instead
of 0.998).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.spatial.distance import cdist

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    check_positive,
    gram_matrix,
    in_blocks,
    mean_rows,
    rows_by_label,
    unit_vectors,
)
from oodbench.outputs import Outputs


def mahalanobis(test: Outputs, reference: Reference, ridge: float) -> Array:
    """min_k (f - m_k)' C^-1 (f - m_k), m_k the class means, C their common covariance   (Lee et al., 2018)

    Of the last features, without input perturbation. C += ridge mean(diag C) I.
    """
    gaussians = tied_gaussians(reference.train.features, reference.train.labels, ridge)
    return nearest_distances(test.features, *gaussians)


def relative_mahalanobis(test: Outputs, reference: Reference, ridge: float) -> Array:
    """min_k (f - m_k)' C^-1 (f - m_k) - (f - m)' C_0^-1 (f - m), m and C_0 of all images   (Ren et al., 2021)

    C_0 = C + sum_k n_k / N (m_k - m)(m_k - m)'
    """
    means, shares, tied = moments(reference.train.features, reference.train.labels)
    mean = shares @ means
    background = regularised(tied + (shares * (means - mean).T) @ (means - mean), ridge)
    nearest = nearest_distances(test.features, means, regularised(tied, ridge))
    return nearest - nearest_distances(test.features, mean[None], background)


def mahalanobis_pp(test: Outputs, reference: Reference, ridge: float) -> Array:
    """min_k (q - m_k)' C^-1 (q - m_k), q = f / |f|, m_k the class means of q, C their common covariance

    Mahalanobis++ (Mueller & Hein, 2025). q = 0 where f = 0. C += ridge mean(diag C) I.
    """
    gaussians = tied_gaussians(directions(reference.train.features), reference.train.labels, ridge)
    return nearest_distances(directions(test.features), *gaussians)


def gmm(test: Outputs, reference: Reference, ridge: float) -> Array:
    """-log sum_k pi_k N(f; m_k, C_k), one Gaussian per class; C_k += ridge mean(diag C) I, C their common covariance"""
    check_positive(ridge=ridge)
    features, labels = reference.train.features, reference.train.labels
    means, shares, index = class_means(features, labels)
    D = features.shape[1]
    variance = in_blocks(lambda f, k: np.square(f - means[k]).sum(1), features, index).mean() / D  # mean(diag C)
    log_density = np.full(len(test.features), -np.inf)
    for mean, share, rows in zip(means, shares, rows_by_label(labels).values(), strict=True):
        # one class at a time: K x N x D numbers would be 19 GB for CIFAR-100
        covariance = gram_matrix(lambda some, mean=mean: features[some] - mean, rows) / len(rows)
        factor = factored(covariance + ridge * variance * np.eye(D))
        log_norm = np.log(np.diag(factor)).sum() + D / 2 * np.log(2 * np.pi)
        log_joint = np.log(share) - nearest_distances(test.features, mean[None], factor) / 2 - log_norm
        log_density = np.logaddexp(log_density, log_joint)
    return -log_density


def directions(features: Array) -> Array:
    """(N, D) -> (N, D), f / |f| in the type of f, divided in float64; f = 0 stays 0"""
    return in_blocks(lambda f: unit_vectors(f.astype(np.float64)).astype(f.dtype), features)


def tied_gaussians(features: Array, labels: NDArray[np.integer], ridge: float) -> tuple[Array, Array]:
    """(N, D), (N,) -> (K, D) class means, (D, D) lower triangular L with L L' their common regularised covariance"""
    means, _, tied = moments(features, labels)
    return means, regularised(tied, ridge)


def moments(features: Array, labels: NDArray[np.integer]) -> tuple[Array, Array, Array]:
    """(N, D), (N,) -> (K, D) class means, (K,) shares of the images, (D, D) covariance about the class means

    K: classes that have an image.
    """
    means, shares, index = class_means(features, labels)
    return means, shares, gram_matrix(lambda f, k: f - means[k], features, index) / len(features)


def class_means(features: Array, labels: NDArray[np.integer]) -> tuple[Array, Array, NDArray[np.intp]]:
    """(N, D), (N,) -> (K, D) class means, (K,) shares of the images, (N,) the index of each image's class"""
    means = np.stack([mean_rows(features, rows) for rows in rows_by_label(labels).values()])
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return means, counts / len(labels), index


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


def nearest_distances(features: Array, means: Array, factor: Array) -> Array:
    """(N, D), (K, D), (D, D) -> (N,), min_k |L^-1 (f - m_k)|^2, from differences, so never negative"""
    centre = means.mean(0)

    def whitened(x: Array) -> Array:
        return solve_triangular(factor, (x - centre).T, lower=True, check_finite=False).T

    whitened_means = whitened(means)
    return in_blocks(lambda x: cdist(whitened(x.astype(np.float64)), whitened_means, "sqeuclidean").min(1), features)
