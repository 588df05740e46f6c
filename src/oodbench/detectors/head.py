"""Detectors of the features f and the linear head (W, b). c is the predicted class, m the mean training feature."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.special import logsumexp, softmax

from oodbench.detectors.gaussian import class_means
from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    check_positive,
    class_logits,
    in_blocks,
    mean_rows,
    rows_by_label,
    unit_vectors,
)
from oodbench.outputs import Outputs


def dice(test: Outputs, reference: Reference, percentile: float) -> Array:
    """-log sum_k exp(W' f + b)_k, W' the weights whose W_kj m_j exceeds its percentile, else 0   (Sun & Li, 2022)

    The percentile is over all classes and features together.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; it is in [0, 100]")
    W, b = reference.weights()
    contribution = W * mean_feature(reference)
    sparse = np.where(contribution > np.percentile(contribution, percentile), W, 0)
    return in_blocks(lambda f: -logsumexp(f @ sparse.T + b, axis=1), test.features)


def fdbd(test: Outputs, reference: Reference, distance_as_normalizer: bool) -> Array:
    """-1/(K-1) sum_{j != c} |z_c - z_j| / |w_c - w_j| / |f - m|, or / |f|   (Liu & Qin, 2024)

    Mean distance to the decision boundaries; |f| with distance_as_normalizer false. The score is 0 where |f - m|, or
    |f|, is. Two classes of equal weights have no boundary between them.
    """
    W, _ = reference.weights()
    centre = mean_feature(reference) * distance_as_normalizer
    between = cdist(W, W)
    inverse = np.divide(1, between, out=np.zeros_like(between), where=between > 0)

    def score(features: Array, z: Array) -> Array:
        z = z.astype(np.float64)
        gaps = np.abs(z.max(1, keepdims=True) - z) * inverse[z.argmax(1)]
        length = np.linalg.norm(features - centre, axis=1)
        mean = gaps.sum(1) / (len(W) - 1)
        return -np.divide(mean, length, out=np.zeros_like(mean), where=length > 0)

    return in_blocks(score, test.features, class_logits(test))


def nci(test: Outputs, reference: Reference, alpha: float) -> Array:
    """-w_c . (f - m) / |f - m| - alpha |f|_1   (Liu & Qin, 2025)"""
    (W, _), centre = reference.weights(), mean_feature(reference)

    def score(features: Array, z: Array) -> Array:
        centred = features - centre
        proximity = (W[z.argmax(1)] * centred).sum(1) / norm(centred)
        return -proximity - alpha * np.abs(features).sum(1, dtype=np.float64)

    return in_blocks(score, test.features, class_logits(test))


def gradnorm(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-|d L / d W|_1, L = -mean_k log softmax(z / T)_k   (Huang, Geng & Li, 2021)

    For a linear head that is -|f|_1 sum_k |p_k - 1/K| / T, p = softmax(z / T).
    """
    check_positive(temperature=temperature)
    reference.weights()

    def score(features: Array, z: Array) -> Array:
        p = softmax(z.astype(np.float64) / temperature, axis=1)
        return -np.abs(features).sum(1, dtype=np.float64) * np.abs(p - 1 / p.shape[1]).sum(1) / temperature

    return in_blocks(score, test.features, class_logits(test))


def she(test: Outputs, reference: Reference) -> Array:
    """-f . S_c, S_k the mean feature of the training images correctly classified as k   (Zhang et al., 2023)"""
    patterns = np.stack([mean_rows(reference.train.features, rows) for rows in correctly_classified(reference.train)])
    return in_blocks(lambda f, log_p: -(f * patterns[log_p.argmax(1)]).sum(1), test.features, test.log_probs)


def ctm(test: Outputs, reference: Reference) -> Array:
    """-max_k f . m_k / |f| |m_k|, m_k the mean feature of all training images of class k   (Ngoc-Hieu et al., 2023)

    0 where f = 0. The means are of features as they are, and over images that are misclassified, too.
    """
    means, _, _ = class_means(reference.train.features, reference.train.labels)
    directions = unit_vectors(means)
    return in_blocks(lambda f: -(unit_vectors(f.astype(np.float64)) @ directions.T).max(1), test.features)


def correctly_classified(train: Outputs) -> Iterator[NDArray[np.intp]]:
    """Yield, for each class, the rows of its correctly classified images, or of all its images if there are none.

    Raises NotApplicable for a class without training images.
    """
    right, rows = train.log_probs.argmax(1) == train.labels, rows_by_label(train.labels)
    for k in range(train.log_probs.shape[1]):
        if k not in rows:
            raise NotApplicable(f"needs training images of every class; class {k} has none")
        yield rows[k][right[rows[k]]] if right[rows[k]].any() else rows[k]


def mean_feature(reference: Reference) -> Array:
    """-> (D,), m in float64"""
    return reference.train.features.mean(0, dtype=np.float64)


def norm(x: Array) -> Array:
    """(N, D) -> (N,), |x|, positive also at the origin"""
    return np.maximum(np.linalg.norm(x, axis=1), np.finfo(np.float64).tiny)
