"""Rank correlation: how far two lists of numbers put the same things in the same order."""

import math
from itertools import permutations

import numpy as np

from oodbench.evaluation.arrays import Array

ALL_ORDERS = 8  # things up to which every order is tried: 40,320
DRAWN = 100_000  # orders of more


def ranks(values: Array) -> Array:
    """(N, ...) -> (N, ...) ranks along the first axis, 1 for the smallest; equal values share their mean rank."""
    above, below = values[:, None] > values[None], values[:, None] < values[None]
    return (above.sum(1) - below.sum(1) + len(values) + 1) / 2


def spearman(a: Array, b: Array) -> Array:
    """(N, ...), (N, ...) -> (...), Pearson's correlation of the ranks (Spearman, 1904); NaN where one has no order."""
    x, y = (r - (len(r) + 1) / 2 for r in (ranks(a), ranks(b)))
    norm = np.sqrt((x**2).sum(0) * (y**2).sum(0))
    return np.divide((x * y).sum(0), norm, out=np.full(norm.shape, np.nan), where=norm > 0)


def permutation_p_value(a: Array, b: Array) -> float:
    """(N,), (N,) -> p, two-sided: the share of all orders of b that agree with a at least as much, or as little.

    Above ALL_ORDERS things of DRAWN random orders, the same in every call, and the one that was found. NaN where one
    has no order.
    """
    found = float(spearman(a, b))
    if math.isnan(found):
        return math.nan
    n = len(b)
    if n <= ALL_ORDERS:
        orders = np.array(list(permutations(range(n))))
    else:
        drawn = np.random.default_rng(0).permuted(np.tile(np.arange(n), (DRAWN, 1)), axis=1)
        orders = np.concatenate([np.arange(n)[None], drawn])
    x, y = ranks(a) - (n + 1) / 2, ranks(b) - (n + 1) / 2
    sums = np.abs(y[orders] @ x)
    return float(np.mean(sums >= abs(x @ y) - 1e-9))
