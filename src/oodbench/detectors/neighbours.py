"""Scores that compare an image's features with those of the training images one by one."""

from collections.abc import Iterable
from functools import partial

import numpy as np
from scipy.special import logsumexp

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    blocks,
    class_logits,
    in_blocks,
    normalised,
    of_logits,
    unit,
)
from oodbench.outputs import Outputs

TOO_CLOSE = 1e-4  # squared distance below which a product of float32 unit vectors, off by 1e-7, is too coarse


def knn(test: Outputs, reference: Reference, k: int) -> Array:
    """|q - Q_(k)|, the distance to the k-th nearest training image, q = f / |f|   (Sun et al., 2022)"""
    check_neighbours(k, len(reference.train.features))
    square = kth_square_distance(test.features, reference.train.features, k)
    close = square < TOO_CLOSE
    if close.any():
        square[close] = kth_square_distance(test.features[close].astype(np.float64), reference.train.features, k)
    return np.sqrt(square)


def kth_square_distance(x: Array, bank: Array, k: int) -> Array:
    """(N, D), (M, D) -> (N,) float64, between unit vectors, in the precision of x"""

    def of_block(x: Array) -> Array:
        q, units = unit(x), (unit(Q.astype(x.dtype, copy=False)) for (Q,) in blocks(bank))
        product = largest_products(q, units, k)[:, 0].astype(np.float64)
        return np.maximum(np.square(q, dtype=np.float64).sum(1) + 1 - 2 * product, 0)

    return in_blocks(of_block, x)


def largest_products(q: Array, bank: Iterable[Array], k: int) -> Array:
    """(N, D), blocks of (m, D) -> (N, k), the k largest q . Q_i of all Q_i in the bank, the least of them first

    Products with all of 1,000,000 training images would be 8 GB for a block of q.
    """
    best = np.full((len(q), k), -np.inf, q.dtype)
    for Q in bank:
        products = np.concatenate([q @ Q.T, best], axis=1)
        products.partition(len(Q), axis=1)
        best = products[:, len(Q) :].copy()  # a view would keep all the products
    return best


def nnguide(test: Outputs, reference: Reference, k: int, share: float, seed: int) -> Array:
    """-E mean of the k largest q . E_i Q_i,   E = log sum_k exp z_k, q = f / |f|   (Park, Jung & Teoh, 2023)

    The bank is a random share of the training images and at least k of them; the benchmark takes the first ones.
    """
    train = reference.train
    check_neighbours(k, len(train.features))
    size = max(k, round(share * len(train.features)))
    rows = np.random.default_rng(seed).permutation(len(train.features))[:size]
    z = class_logits(train)[rows].astype(np.float64)
    bank = unit(train.features[rows]) * logsumexp(z, axis=1).astype(np.float32)[:, None]

    def guidance(features: Array) -> Array:
        return largest_products(unit(features), (Q for (Q,) in blocks(bank)), k).mean(1, dtype=np.float64)

    return -of_logits(lambda z: logsumexp(z, axis=1), test) * in_blocks(guidance, test.features)


def relation(test: Outputs, reference: Reference, power: float, threshold: float) -> Array:
    """-sum_i r_i^power over r_i > threshold,   r_i = (q . Q_i) (p . P_i), q = f / |f|   (Kim, Yun & Song, 2023)

    Training images that are alike in P stand together, and meet only those images whose p . P_i exceeds the threshold
    for one of them: the others' r_i cannot. Of a network that is sure of its training images few products remain.
    """
    if threshold < 0:
        raise ValueError(f"threshold is {threshold}; a relation counts from 0 on")
    train = reference.train
    p, q = probabilities(test.log_probs), unit(test.features)
    order = np.lexsort((train.log_probs.max(1), train.log_probs.argmax(1)))
    total = np.zeros(len(q))
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        P, Q = probabilities(train.log_probs[rows]), unit(train.features[rows])
        total += in_blocks(partial(related, P=P, Q=Q, power=power, threshold=threshold), p, q)
    return -total


def probabilities(log_probs: Array) -> Array:
    """(N, K) -> (N, K) float32, sums of one"""
    return np.exp(normalised(log_probs)).astype(np.float32)


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
