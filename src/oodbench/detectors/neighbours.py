"""Scores that compare an image's features with those of the training images one by one."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    class_log_probs,
    class_logits,
    in_blocks,
    unit,
)
from oodbench.outputs import Outputs

TOO_CLOSE = 1e-4  # squared distance below which a product of float32 unit vectors, off by 1e-7, is too coarse


def knn(test: Outputs, reference: Reference, k: int) -> Array:
    """|q - Q_(k)|, the distance to the k-th nearest training image, q = f / |f|   (Sun et al., 2022, eq. 3)"""
    check_neighbours(k, len(reference.train.features))
    square = kth_square_distance(unit(test.features), unit(reference.train.features), k)
    close = square < TOO_CLOSE
    if close.any():
        x, bank = test.features[close].astype(np.float64), reference.train.features.astype(np.float64)
        square[close] = kth_square_distance(unit(x), unit(bank), k)
    return np.sqrt(square)


def kth_square_distance(x: Array, bank: Array, k: int) -> Array:
    """(N, D), (M, D) unit vectors -> (N,) float64"""

    def kth_product(block: Array) -> Array:
        products = block @ bank.T
        products.partition(len(bank) - k, axis=1)  # in place: they are the largest thing in memory
        return products[:, -k]

    square = np.square(x, dtype=np.float64).sum(1) + 1 - 2.0 * in_blocks(kth_product, x, size=512).astype(np.float64)
    return np.maximum(square, 0)


def nnguide(test: Outputs, reference: Reference, k: int, share: float, seed: int) -> Array:
    """-E mean of the k largest q . E_i Q_i,   E = log sum_k exp z_k, q = f / |f|   (Park, Jung & Teoh, 2023, eq. 5)

    The bank is a random share of the training images and at least k of them; the benchmark takes the first ones.
    """
    train = reference.train
    check_neighbours(k, len(train.features))
    size = max(k, round(share * len(train.features)))
    rows = np.random.default_rng(seed).permutation(len(train.features))[:size]
    bank = unit(train.features[rows]) * logsumexp(class_logits(train)[rows], axis=1).astype(np.float32)[:, None]

    def guidance(features: Array) -> Array:
        products = unit(features) @ bank.T
        products.partition(size - k, axis=1)
        return products[:, -k:].mean(1, dtype=np.float64)

    return -logsumexp(class_logits(test), axis=1) * in_blocks(guidance, test.features)


def relation(test: Outputs, reference: Reference, power: float, threshold: float) -> Array:
    """-sum_i r_i^power over r_i > threshold,   r_i = [q . Q_i]_+ (p . P_i), q = f / |f|   (Kim, Yun & Song, 2023)

    Training images that are called one class stand together, and are compared with those images only whose p . P_i
    exceeds the threshold for one of them: the others' r_i cannot. A tenth of the products remain.
    """
    P, p = (np.exp(class_log_probs(outputs)).astype(np.float32) for outputs in (reference.train, test))
    Q, q = unit(reference.train.features), unit(test.features)
    total = np.zeros(len(q))
    order = np.argsort(P.argmax(1), kind="stable")
    for start in range(0, len(order), 512):
        rows = order[start : start + 512]

        def summed(q: Array, p: Array, rows: NDArray[np.integer] = rows) -> Array:
            likeness, related = p @ P[rows].T, np.zeros(len(q))
            some = likeness.max(1) > threshold
            r = np.maximum(q[some] @ Q[rows].T, 0) * likeness[some]
            related[some] = np.where(r > threshold, r**power, 0).sum(1, dtype=np.float64)
            return related

        total += in_blocks(summed, q, p, size=16_384)
    return -total


def check_neighbours(k: int, images: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}; at least one neighbour is needed")
    if k > images:
        raise NotApplicable(f"needs {k} training images; there are {images}")
