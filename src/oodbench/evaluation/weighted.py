"""Images that count more than once, for many columns of counts together: what resampled OOD metrics are made of.

Nothing is approximated: a metric of counts is the metric of the scores repeated so often, ties and the ceiling of the
95 % included. Sorting is paid once for all columns; what is left are running sums down the columns.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array, checked

Counts = NDArray[np.integer]
Positions = NDArray[np.intp]
ROWS = 1024  # images at once, so that quotients stay in the cache
STEP = 32  # rows that are summed in one go; np.cumsum down the columns takes 2 to 3 times as long


class Merged(NamedTuple):
    """Scores of N ID and M OOD images in ascending order, and how many of either kind lie below each.

    A prefix of a sorted list is named by its length, so it is the row of the running sums that belongs to it.
    """

    id_order: Positions  # (N,), the image at each rank
    ood_order: Positions  # (M,)
    id_upto_id: Positions  # (N,), ID images with a score <= that of the ID image at this rank
    ood_upto_id: Positions  # (N,), OOD images <=
    ood_below_id: Positions  # (N,), OOD images <
    id_below_ood: Positions  # (M,), ID images < the OOD image at this rank
    ood_below_ood: Positions  # (M,), OOD images <


class Counted(NamedTuple):
    """R resamples of N ID and M OOD images: an order, and in it running sums of how often each image counts."""

    order: Merged
    id_sums: Counts  # (N + 1, R), of the first 0, 1, ... N ID images
    ood_sums: Counts  # (M + 1, R)

    @property
    def id_images(self) -> NDArray[np.int64]:
        """(R,), ID images in a resample, repeated ones included"""
        return self.id_sums[-1].astype(np.int64)

    @property
    def ood_images(self) -> NDArray[np.int64]:
        """(R,), OOD images"""
        return self.ood_sums[-1].astype(np.int64)

    @property
    def columns(self) -> Positions:
        """(R,), 0, 1, ... R - 1"""
        return np.arange(self.id_sums.shape[1])


def merge(id_scores: Array, ood_scores: Array) -> Merged:
    """(N,), (M,) -> their order. Raises ValueError for scores that are not finite."""
    id_scores, ood_scores = checked("ID scores", id_scores), checked("OOD scores", ood_scores)
    id_order, ood_order = np.argsort(id_scores), np.argsort(ood_scores)
    id_scores, ood_scores = id_scores[id_order], ood_scores[ood_order]
    return Merged(
        id_order,
        ood_order,
        np.searchsorted(id_scores, id_scores, side="right"),
        np.searchsorted(ood_scores, id_scores, side="right"),
        np.searchsorted(ood_scores, id_scores, side="left"),
        np.searchsorted(id_scores, ood_scores, side="left"),
        np.searchsorted(ood_scores, ood_scores, side="left"),
    )


def narrowed(id_counts: Counts, ood_counts: Counts) -> tuple[Counts, Counts]:
    """(N, R), (M, R) -> the same in the narrowest type that holds every sum: much of the time is the memory's.

    Raises ValueError for a column that counts no image of one kind.
    """
    n, m = (np.einsum("nr->r", counts, dtype=np.int64) for counts in (id_counts, ood_counts))
    if min(n.min(), m.min()) < 1:
        raise ValueError("a column counts no image of one kind; its metrics are not defined")
    narrowest = np.min_scalar_type(int((n + m).max()))
    return id_counts.astype(narrowest, copy=False), ood_counts.astype(narrowest, copy=False)


def counted(order: Merged, id_counts: Counts, ood_counts: Counts) -> Counted:
    """(N, R), (M, R) -> their running sums in this order"""
    return Counted(order, running_sums(id_counts, order.id_order), running_sums(ood_counts, order.ood_order))


def running_sums(counts: Counts, order: Positions) -> Counts:
    """(N, R), (N,) -> (N + 1, R), the sum of the first 0, 1, ... N rows in this order, in the type of the counts"""
    n, columns = counts.shape
    sums = np.zeros((1 + n + -n % STEP, columns), counts.dtype)
    counts.take(order, axis=0, out=sums[1 : n + 1], mode="clip")  # several times as fast as counts[order]
    groups = sums[1:].reshape(-1, STEP, columns)
    for k in range(1, STEP):
        groups[:, k] += groups[:, k - 1]
    groups[1:] += np.cumsum(groups[:-1, -1], axis=0, dtype=counts.dtype)[:, None]
    return sums[: n + 1]


def rank_of(sums: Counts, k: NDArray[np.int64]) -> Positions:
    """(N + 1, R), (R,) -> (R,), the rank of the k-th smallest of the repeated scores: bisection, all columns at once"""
    low, high = np.zeros(len(k), np.intp), np.full(len(k), len(sums) - 2)
    while (low < high).any():
        middle = (low + high) // 2
        reached = sums[middle + 1, np.arange(len(k))] >= k
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low


def row_blocks(n: int) -> list[slice]:
    """Return slices of ROWS rows that together are 0 to n."""
    return [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]


def counts_of(sums: Counts, rows: slice) -> Counts:
    """(N + 1, R) -> (n, R), how often the images at these ranks count"""
    return sums[rows.start + 1 : rows.stop + 1] - sums[rows]


def precision(true: Counts, false: Counts) -> Array:
    """(n, R), (n, R) -> (n, R), true / (true + false); 0 for an image that counts 0 times among others that do"""
    one = np.ones(true.shape[1], true.dtype)  # a scalar 1 takes 5 times as long
    return true / np.maximum(true + false, one)


def sum_of_products(counts: Counts, values: Array) -> Array:
    """(n, R), (n, R) -> (R,), down the columns"""
    return np.einsum("nr,nr->r", counts.astype(np.float64), values)
