"""The variance of AUROC without resampling, as a check on the bootstrap (DeLong, DeLong & Clarke-Pearson, 1988).

Ties count half, through midranks (Sun & Xu, 2014).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from oodbench.evaluation.arrays import Array, checked
from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.significance import Comparison


def delong(id_scores: Array, ood_scores: Array) -> tuple[float, float, Interval]:
    """(N,), (M,) -> AUROC, its variance, and AUROC +- 1.96 sqrt(variance), cut to [0, 1]."""
    areas, covariance = delong_covariance([id_scores], [ood_scores])
    area, variance = float(areas[0]), float(covariance[0, 0])
    half = float(stats.norm.ppf(0.975)) * variance**0.5
    return area, variance, (max(0.0, area - half), min(1.0, area + half))


def delong_difference(id_a: Array, ood_a: Array, id_b: Array, ood_b: Array) -> Comparison:
    """(N,), (M,) of a, (N,), (M,) of b, image by image the same -> AUROC of a minus that of b, by the normal law."""
    areas, covariance = delong_covariance([id_a, id_b], [ood_a, ood_b])
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 0:  # the two order all pairs alike
        return Comparison(difference, (difference, difference), float(difference == 0), 1)
    half = float(stats.norm.ppf(0.975)) * variance**0.5
    p_value = 2 * float(stats.norm.sf(abs(difference) / variance**0.5))
    return Comparison(difference, (difference - half, difference + half), p_value, 1)


def delong_covariance(id_scores: Sequence[Array], ood_scores: Sequence[Array]) -> tuple[Array, NDArray[np.float64]]:
    """D detectors' (N,) and (M,) -> (D,) AUROCs, (D, D) covariance = S_id / N + S_ood / M

    S: sample covariances of what one image adds, P(ood > id_i) over the OOD images and the like for each OOD image.
    Raises ValueError for fewer than two ID or two OOD images.
    """
    n, m = len(id_scores[0]), len(ood_scores[0])
    if min(n, m) < 2:
        raise ValueError(f"{n} ID and {m} OOD images; a variance needs two of each")
    pairs = [
        _placements(checked("ID scores", ids), checked("OOD scores", oods))
        for ids, oods in zip(id_scores, ood_scores, strict=True)
    ]
    of_id, of_ood = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    covariance = np.atleast_2d(np.cov(of_id)) / n + np.atleast_2d(np.cov(of_ood)) / m
    return of_ood.mean(1), covariance


def _placements(id_scores: Array, ood_scores: Array) -> tuple[Array, Array]:
    """(N,), (M,) -> (N,), (M,): share of OOD above each ID image, share of ID below each OOD image; ties half"""
    n, m = len(id_scores), len(ood_scores)
    together = stats.rankdata(np.concatenate([id_scores, ood_scores]))
    of_id = 1 - (together[:n] - stats.rankdata(id_scores)) / m
    return of_id, (together[n:] - stats.rankdata(ood_scores)) / n
