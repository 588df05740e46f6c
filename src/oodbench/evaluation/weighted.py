"""The OOD metrics of images that count more than once, for many columns of counts together.

Nothing is approximated: a metric of counts is the metric of `metrics` of the scores repeated so often, ties and
the ceiling of the 95 % included. Sorting is paid once for all columns; what is left are running sums down the columns.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.metrics import Array, checked

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


def merge(id_scores: Array, ood_scores: Array) -> Merged:
    """(N,), (M,) -> their order. Raises ValueError for scores that are not finite."""
    id_scores, ood_scores = checked("ID scores", id_scores), checked("OOD scores", ood_scores)
    id_order, ood_order = np.argsort(id_scores), np.argsort(ood_scores)
    ids, oods = id_scores[id_order], ood_scores[ood_order]
    return Merged(
        id_order,
        ood_order,
        np.searchsorted(ids, ids, side="right"),
        np.searchsorted(oods, ids, side="right"),
        np.searchsorted(oods, ids, side="left"),
        np.searchsorted(ids, oods, side="left"),
        np.searchsorted(oods, oods, side="left"),
    )


def metrics_of_counts(
    orders: Mapping[str, Merged], id_counts: Counts, ood_counts: Counts
) -> dict[str, dict[str, Array]]:
    """{detector: order}, (N, R), (M, R) counts -> {detector: {metric of OOD_METRICS: (R,)}}.

    Raises ValueError for a column that counts no image of one kind.
    """
    n, m = (np.einsum("nr->r", counts, dtype=np.int64) for counts in (id_counts, ood_counts))
    if min(n.min(), m.min()) < 1:
        raise ValueError("a column counts no image of one kind; its metrics are not defined")
    narrowest = np.min_scalar_type(int((n + m).max()))  # that holds every sum: much of the time is the memory's
    id_counts, ood_counts = id_counts.astype(narrowest, copy=False), ood_counts.astype(narrowest, copy=False)
    return {
        detector: _metrics(order, running_sums(id_counts, order.id_order), running_sums(ood_counts, order.ood_order))
        for detector, order in orders.items()
    }


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


def _metrics(order: Merged, ids: Counts, oods: Counts) -> dict[str, Array]:
    """(N + 1, R), (M + 1, R) running sums of the counts in the order of the scores -> {metric: (R,)}"""
    n, m, columns = ids[-1].astype(np.int64), oods[-1].astype(np.int64), np.arange(ids.shape[1])
    last_id = _rank_of(ids, -(-95 * n // 100))  # the ID image at the lowest threshold that accepts 95 % of ID
    first_ood = _rank_of(oods, m - -(-95 * m // 100) + 1)  # the OOD image at the highest that flags 95 % of OOD
    return {
        "auroc": _auroc(order, ids, oods),
        "fpr95_idpos": oods[order.ood_upto_id[last_id], columns] / m,
        "fpr95_oodpos": (n - ids[order.id_below_ood[first_ood], columns]) / n,
        "aupr_in": _aupr_in(order, ids, oods),
        "aupr_out": _aupr_out(order, ids, oods),
    }


def _rank_of(sums: Counts, k: NDArray[np.int64]) -> Positions:
    """(N + 1, R), (R,) -> (R,), the rank of the k-th smallest of the repeated scores: bisection, all columns at once"""
    low, high = np.zeros(len(k), np.intp), np.full(len(k), len(sums) - 2)
    while (low < high).any():
        middle = (low + high) // 2
        reached = sums[middle + 1, np.arange(len(k))] >= k
        low, high = np.where(reached, low, middle + 1), np.where(reached, middle, high)
    return low


def _auroc(order: Merged, ids: Counts, oods: Counts) -> Array:
    """1 - sum_i count_i (OOD below i + OOD at or below i) / 2NM over the ID images i"""
    under = np.zeros(ids.shape[1])
    for rows in _row_blocks(len(ids) - 1):
        upto, below = oods.take(order.ood_upto_id[rows], axis=0), oods.take(order.ood_below_id[rows], axis=0)
        under += _dot(_counts(ids, rows), np.add(upto, below, dtype=np.float64))
    return 1 - under / (2.0 * ids[-1] * oods[-1])


def _aupr_in(order: Merged, ids: Counts, oods: Counts) -> Array:
    """sum_i count_i / N precision at i, over the ID images i; at i all images are accepted that score <= i"""
    area = np.zeros(ids.shape[1])
    for rows in _row_blocks(len(ids) - 1):
        true, false = ids.take(order.id_upto_id[rows], axis=0), oods.take(order.ood_upto_id[rows], axis=0)
        area += _dot(_counts(ids, rows), _precision(true, false))
    return area / ids[-1]


def _aupr_out(order: Merged, ids: Counts, oods: Counts) -> Array:
    """sum_j count_j / M precision at j, over the OOD images j; at j all images are flagged that score >= j"""
    area = np.zeros(oods.shape[1])
    for rows in _row_blocks(len(oods) - 1):
        true = oods[-1] - oods.take(order.ood_below_ood[rows], axis=0)
        false = ids[-1] - ids.take(order.id_below_ood[rows], axis=0)
        area += _dot(_counts(oods, rows), _precision(true, false))
    return area / oods[-1]


def _row_blocks(n: int) -> list[slice]:
    return [slice(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]


def _counts(sums: Counts, rows: slice) -> Counts:
    return sums[rows.start + 1 : rows.stop + 1] - sums[rows]


def _precision(true: Counts, false: Counts) -> Array:
    one = np.ones(
        true.shape[1], true.dtype
    )  # 0 / 0 is at an image that counts 0 times; a scalar 1 takes 5 times as long
    return true / np.maximum(true + false, one)


def _dot(counts: Counts, values: Array) -> Array:
    """(n, R), (n, R) -> (R,), the products' sum down the columns"""
    return np.einsum("nr,nr->r", counts.astype(np.float64), values)
