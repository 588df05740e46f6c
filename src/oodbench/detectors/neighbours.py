"""Detectors that compare the features of an image with those of each training image."""

from collections.abc import Iterable
from functools import partial

import numpy as np
from scipy.special import logsumexp

from oodbench.detectors.reference import (
    Array,
    NotApplicable,
    Reference,
    blocks,
    check_positive,
    class_logits,
    in_blocks,
    map_logits,
    normalised,
    unit_vectors,
)
from oodbench.outputs import Outputs

TOO_CLOSE = 1e-4  # squared distance below which products of float32 unit vectors, wrong by 1e-7, are too coarse


def knn(test: Outputs, reference: Reference, k: int) -> Array:
    """|q - Q_(k)|, distance to the k-th nearest training image, q = f / |f|   (Sun et al., 2022)

    Training images of f = 0 have no direction and are nobody's neighbours; a q = 0 is at 1 from every other image.
    """
    bank = reference.train.features
    if not (has_direction := bank.any(1)).all():
        bank = bank[has_direction]
    check_neighbours(k, len(bank))
    square = kth_square_distance(test.features, bank, k)
    close = square < TOO_CLOSE
    if close.any():
        square[close] = kth_square_distance(test.features[close].astype(np.float64), bank, k)
    return np.sqrt(square)


def kth_square_distance(x: Array, bank: Array, k: int) -> Array:
    """(N, D), (M, D) -> (N,) float64, |q - Q_(k)|^2, products in the precision of x"""

    def distance(x: Array) -> Array:
        q, units = unit_vectors(x), (unit_vectors(Q.astype(x.dtype, copy=False)) for (Q,) in blocks(bank))
        product = largest_products(q, units, k)[:, 0].astype(np.float64)
        return np.maximum(np.square(q, dtype=np.float64).sum(1) + 1 - 2 * product, 0)

    return in_blocks(distance, x)


def largest_products(q: Array, bank: Iterable[Array], k: int) -> Array:
    """(N, D), blocks of (m, D) -> (N, k), the k largest q . Q_i of all Q_i in the bank, the least of them first

    Products of one block of q with all of 1,000,000 training images would be 8 GB.
    """
    best = np.full((len(q), k), -np.inf, q.dtype)
    for Q in bank:
        products = np.concatenate([q @ Q.T, best], axis=1)
        products.partition(len(Q), axis=1)
        best = products[:, len(Q) :].copy()  # a view would keep all products
    return best


def nnguide(test: Outputs, reference: Reference, k: int, share: float, seed: int) -> Array:
    """-E mean of the k largest q . E_i Q_i,   E = log sum_k exp z_k, q = f / |f|   (Park, Jung & Teoh, 2023)

    The bank is a random share of the training images, at least k of them; OpenOOD v1.5 takes the first ones. It has no
    numbers where the training images' mean E is not positive.
    """
    train = reference.train
    check_neighbours(k, len(train.features))
    if not (mean := float(map_logits(lambda z: logsumexp(z, axis=1), train).mean())) > 0:
        raise NotApplicable(f"takes log sum_k exp z_k as positive; the training images' are {mean:.2g} on average")
    size = max(k, round(share * len(train.features)))
    rows = np.random.default_rng(seed).permutation(len(train.features))[:size]
    z = class_logits(train)[rows].astype(np.float64)
    bank = unit_vectors(train.features[rows]) * logsumexp(z, axis=1).astype(np.float32)[:, None]

    def guidance(features: Array) -> Array:
        return largest_products(unit_vectors(features), (Q for (Q,) in blocks(bank)), k).mean(1, dtype=np.float64)

    return -map_logits(lambda z: logsumexp(z, axis=1), test) * in_blocks(guidance, test.features)


def relation(test: Outputs, reference: Reference, power: float, threshold: float) -> Array:
    """-sum_i r_i^power over r_i > threshold,   r_i = (q . Q_i) (p . P_i), q = f / |f|   (Kim, Yun & Song, 2023)"""
    check_positive(power=power)
    if threshold < 0:
        raise ValueError(f"threshold is {threshold}; it must be >= 0")
    train = reference.train
    p, q = probabilities(test.log_probs), unit_vectors(test.features)
    # As q . Q_i <= 1, only images with p . P_i > threshold for a training image of a block need its products. Blocks
    # hold training images of similar P, so that few products remain if the network is certain of most of them.
    order = np.lexsort((train.log_probs.max(1), train.log_probs.argmax(1)))
    total = np.zeros(len(q))
    for start in range(0, len(order), 1024):
        rows = order[start : start + 1024]
        P, Q = probabilities(train.log_probs[rows]), unit_vectors(train.features[rows])
        total += in_blocks(partial(sum_of_relations, P=P, Q=Q, power=power, threshold=threshold), p, q)
    return -total


def probabilities(log_probs: Array) -> Array:
    """(N, K) log p -> (N, K) float32, normalised p"""
    return np.exp(normalised(log_probs)).astype(np.float32)


def sum_of_relations(p: Array, q: Array, P: Array, Q: Array, power: float, threshold: float) -> Array:
    """(N, K), (N, D), (M, K), (M, D) -> (N,), sum_i r_i^power over r_i > threshold"""
    similarity, total = p @ P.T, np.zeros(len(p))
    close = similarity.max(1) > threshold
    r = q[close] @ Q.T
    r *= similarity[close]
    r *= r > threshold
    total[close] = (r if power == 1 else r**power).sum(1, dtype=np.float64)
    return total


def check_neighbours(k: int, images: int) -> None:
    """Raise ValueError for k < 1, NotApplicable for more neighbours than training images."""
    if k < 1:
        raise ValueError(f"k is {k}; at least one neighbour is needed")
    if k > images:
        raise NotApplicable(f"needs {k} training images; there are {images}")
