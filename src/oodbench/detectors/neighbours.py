"""Scores that compare an image's features with those of the training images one by one."""

from functools import partial

import numpy as np
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
    """|q - Q_(k)|, the distance to the k-th nearest training image, q = f / |f|   (Sun et al., 2022)"""
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
        return products[:, -k].copy()  # a view would keep all the products

    products = in_blocks(kth_product, x, size=512).astype(np.float64)  # 100 MB beside 50,000 training images
    return np.maximum(np.square(x, dtype=np.float64).sum(1) + 1 - 2 * products, 0)


def nnguide(test: Outputs, reference: Reference, k: int, share: float, seed: int) -> Array:
    """-E mean of the k largest q . E_i Q_i,   E = log sum_k exp z_k, q = f / |f|   (Park, Jung & Teoh, 2023)

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
    """-sum_i r_i^power over r_i > threshold,   r_i = (q . Q_i) (p . P_i), q = f / |f|   (Kim, Yun & Song, 2023)

    Training images that are alike in P stand together, and meet only those images whose p . P_i exceeds the threshold
    for one of them: the others' r_i cannot. Of a network that is sure of its training images few products remain.
    """
    if threshold < 0:
        raise ValueError(f"threshold is {threshold}; a relation counts from 0 on")
    P, p = (np.exp(class_log_probs(outputs)).astype(np.float32) for outputs in (reference.train, test))
    Q, q = unit(reference.train.features), unit(test.features)
    order = np.lexsort((P.max(1), P.argmax(1)))
    total = np.zeros(len(q))
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        total += in_blocks(partial(related, P=P[rows], Q=Q[rows], power=power, threshold=threshold), p, q)
    return -total


def related(p: Array, q: Array, P: Array, Q: Array, power: float, threshold: float) -> Array:
    """(N, K), (N, D), (M, K), (M, D) -> (N,), sum_i r_i^power over r_i > threshold"""
    likeness, total = p @ P.T, np.zeros(len(p))
    some = likeness.max(1) > threshold
    r = q[some] @ Q.T
    r *= likeness[some]
    r *= r > threshold
    total[some] = (r if power == 1 else r**power).sum(1)
    return total


def check_neighbours(k: int, images: int) -> None:
    if k < 1:
        raise ValueError(f"k is {k}; at least one neighbour is needed")
    if k > images:
        raise NotApplicable(f"needs {k} training images; there are {images}")
