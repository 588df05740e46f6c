"""OOD detection: how well a score tells ID test images from an OOD set.

Functions of OOD scores, (N,) of ID and (M,) of OOD images: higher = more likely OOD. Shares in [0, 1]. Ties count as
the definitions say, nothing is interpolated. Empty input, a NaN and a score that is not finite raise ValueError.
"""

import numpy as np

from oodbench.evaluation.arrays import Array, checked
from oodbench.evaluation.metric import SHARE, OODMetric
from oodbench.evaluation.weighted import Counted, counts_of, precision, rank_of, row_blocks, sum_of_products


def auroc(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> P(ood > id) + P(ood = id) / 2 over all pairs; higher is better, 0.5 is chance."""
    id_scores, ood_scores = np.sort(checked("ID scores", id_scores)), checked("OOD scores", ood_scores)
    below = np.searchsorted(id_scores, ood_scores, side="left")
    not_above = np.searchsorted(id_scores, ood_scores, side="right")
    return float((below + not_above).mean() / (2 * len(id_scores)))


def fpr95_idpos(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> share of OOD accepted by the lowest threshold that accepts 95 % of ID; lower is better.

    ID is the positive class: the convention of ODIN and Energy. Accepted: score <= threshold.
    """
    threshold = threshold_idpos(checked("ID scores", id_scores))
    return float(np.mean(checked("OOD scores", ood_scores) <= threshold))


def fpr95_oodpos(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> share of ID flagged by the highest threshold that flags 95 % of OOD; lower is better.

    OOD is the positive class: the convention of OpenOOD v1.5 and pytorch-ood. Flagged: score >= threshold.
    """
    threshold = threshold_oodpos(checked("OOD scores", ood_scores))
    return float(np.mean(checked("ID scores", id_scores) >= threshold))


def threshold_idpos(id_scores: Array) -> float:
    """(N,) -> the lowest threshold that accepts 95 % of the ID images: those whose score is <= it"""
    k = -(-95 * len(id_scores) // 100)  # ceil, in integers
    return float(np.partition(id_scores, k - 1)[k - 1])


def threshold_oodpos(ood_scores: Array) -> float:
    """(M,) -> the highest threshold that flags 95 % of the OOD images: those whose score is >= it"""
    return -threshold_idpos(-ood_scores)


def aupr_in(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> average precision with ID as the positive class; higher is better, N / (N + M) is chance."""
    return _average_precision(-checked("ID scores", id_scores), -checked("OOD scores", ood_scores))


def aupr_out(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> average precision with OOD as the positive class; higher is better, M / (N + M) is chance."""
    return _average_precision(checked("OOD scores", ood_scores), checked("ID scores", id_scores))


def _average_precision(positive: Array, negative: Array) -> float:
    """sum_t (recall_t - recall_t-1) precision_t: the mean, over the positives, of the precision at their own score."""
    true = len(positive) - np.searchsorted(np.sort(positive), positive, side="left")
    false = len(negative) - np.searchsorted(np.sort(negative), positive, side="left")
    return float(np.mean(true / (true + false)))


# ---- the same of R resamples, (R,)


def _auroc(resamples: Counted) -> Array:
    """1 - sum_i count_i (OOD below i + OOD at or below i) / 2NM over the ID images i"""
    order, id_sums, ood_sums = resamples
    under = np.zeros(id_sums.shape[1])
    for rows in row_blocks(len(id_sums) - 1):
        upto, below = ood_sums.take(order.ood_upto_id[rows], axis=0), ood_sums.take(order.ood_below_id[rows], axis=0)
        under += sum_of_products(counts_of(id_sums, rows), np.add(upto, below, dtype=np.float64))
    return 1 - under / (2.0 * id_sums[-1] * ood_sums[-1])


def _fpr95_idpos(resamples: Counted) -> Array:
    """last_id: the ID image at the lowest threshold that accepts 95 % of ID"""
    order, id_sums, ood_sums = resamples
    last_id = rank_of(id_sums, -(-95 * resamples.id_images // 100))
    return ood_sums[order.ood_upto_id[last_id], resamples.columns] / resamples.ood_images


def _fpr95_oodpos(resamples: Counted) -> Array:
    """first_ood: the OOD image at the highest threshold that flags 95 % of OOD"""
    order, id_sums, ood_sums = resamples
    n, m = resamples.id_images, resamples.ood_images
    first_ood = rank_of(ood_sums, m - -(-95 * m // 100) + 1)
    return (n - id_sums[order.id_below_ood[first_ood], resamples.columns]) / n


def _aupr_in(resamples: Counted) -> Array:
    """sum_i count_i / N precision at i, over the ID images i; at i all images are accepted that score <= i"""
    order, id_sums, ood_sums = resamples
    area = np.zeros(id_sums.shape[1])
    for rows in row_blocks(len(id_sums) - 1):
        true, false = id_sums.take(order.id_upto_id[rows], axis=0), ood_sums.take(order.ood_upto_id[rows], axis=0)
        area += sum_of_products(counts_of(id_sums, rows), precision(true, false))
    return area / id_sums[-1]


def _aupr_out(resamples: Counted) -> Array:
    """sum_j count_j / M precision at j, over the OOD images j; at j all images are flagged that score >= j"""
    order, id_sums, ood_sums = resamples
    area = np.zeros(ood_sums.shape[1])
    for rows in row_blocks(len(ood_sums) - 1):
        true = ood_sums[-1] - ood_sums.take(order.ood_below_ood[rows], axis=0)
        false = id_sums[-1] - id_sums.take(order.id_below_ood[rows], axis=0)
        area += sum_of_products(counts_of(ood_sums, rows), precision(true, false))
    return area / ood_sums[-1]


AUROC = OODMetric(
    name="auroc",
    function=auroc,
    resampled=_auroc,
    higher_is_better=True,
    unit=SHARE,
    heading="AUROC",
    definition="share of pairs of an OOD and an ID image in which the OOD image has the higher score, ties half",
    source="Hendrycks & Gimpel, 2017",
)
FPR95_IDPOS = OODMetric(
    name="fpr95_idpos",
    function=fpr95_idpos,
    resampled=_fpr95_idpos,
    higher_is_better=False,
    unit=SHARE,
    heading="FPR@95 (95 % of ID accepted)",
    definition="the share of OOD images accepted when 95 % of the ID images are accepted",
    source="Liang, Li & Srikant, 2018",
    convention="idpos",
)
FPR95_OODPOS = OODMetric(
    name="fpr95_oodpos",
    function=fpr95_oodpos,
    resampled=_fpr95_oodpos,
    higher_is_better=False,
    unit=SHARE,
    heading="FPR@95 (95 % of OOD caught)",
    definition="the share of ID images flagged when 95 % of the OOD images are caught",
    source="Zhang et al., 2023 (OpenOOD v1.5)",
    convention="oodpos",
)
AUPR_IN = OODMetric(
    name="aupr_in",
    function=aupr_in,
    resampled=_aupr_in,
    higher_is_better=True,
    unit=SHARE,
    heading="AUPR-in",
    definition="average precision with ID as the positive class",
    source="Hendrycks & Gimpel, 2017",
    in_tables=False,
)
AUPR_OUT = OODMetric(
    name="aupr_out",
    function=aupr_out,
    resampled=_aupr_out,
    higher_is_better=True,
    unit=SHARE,
    heading="AUPR-out",
    definition="average precision with OOD as the positive class",
    source="Hendrycks & Gimpel, 2017",
    in_tables=False,
)
