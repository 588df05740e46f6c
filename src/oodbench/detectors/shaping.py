"""Energy of the logits of reshaped features: -log sum_k exp head(shape(f))_k, for any head.

Made for features after a ReLU: they raise NotApplicable if some are negative.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from oodbench.detectors.reference import Array, NotApplicable, Reference, blocks, class_logits, in_blocks
from oodbench.outputs import Outputs


def react(test: Outputs, reference: Reference, percentile: float) -> Array:
    """shape(f) = min(f, t), t the percentile of all calibration features   (Sun, Guo & Li, 2021)"""
    (threshold,) = thresholds(reference, percentile)
    return shaped_energy(lambda f: np.minimum(f, threshold), test, reference)


def vra(test: Outputs, reference: Reference, percentile_low: float, percentile_high: float) -> Array:
    """shape(f) = min(max(f, t_low), t_high), percentiles of all calibration features   (Xu et al., 2023)

    As in OpenOOD v1.5 and pytorch-ood, which raise features below t_low to t_low; the paper sets them to 0.
    """
    low, high = thresholds(reference, percentile_low, percentile_high)
    return shaped_energy(lambda f: np.clip(f, low, high), test, reference)


def ash_p(test: Outputs, reference: Reference, percentile: float) -> Array:
    """shape(f) = f where it is among the image's n largest, else 0   (Djurisic et al., 2023)

    n = D - round(D percentile / 100), at least 1, here and below.
    """
    return shaped_energy(lambda f: np.where(top_mask(f, percentile), f, 0), test, reference)


def ash_b(test: Outputs, reference: Reference, percentile: float) -> Array:
    """shape(f) = sum(f) / n where f is among the image's n largest, else 0   (Djurisic et al., 2023)"""

    def binarised(f: Array) -> Array:
        kept = top_mask(f, percentile)
        return kept * (f.sum(1, keepdims=True) / kept.sum(1, keepdims=True, dtype=f.dtype))

    return shaped_energy(binarised, test, reference)


def ash_s(test: Outputs, reference: Reference, percentile: float) -> Array:
    """shape(f) = f e^r among the image's n largest, else 0; r as in `scale`   (Djurisic et al., 2023)"""

    def sharpened(f: Array) -> Array:
        return np.where(top_mask(f, percentile), f * np.exp(top_ratio(f, percentile)), 0)

    return shaped_energy(sharpened, test, reference)


def scale(test: Outputs, reference: Reference, percentile: float) -> Array:
    """shape(f) = f e^r, r = sum of f / sum of its n largest   (Xu et al., 2024)"""
    return shaped_energy(lambda f: f * np.exp(top_ratio(f, percentile)), test, reference)


def lts(test: Outputs, reference: Reference, percentile: float) -> Array:
    """-log sum_k exp(r^2 z_k), r as in `scale`; logits are scaled instead of features   (Djurisic et al., 2024)

    Where all logits of all images are negative, such as minus distances, it has no numbers.
    """
    check_signs(test)
    if not class_logits(test).max() > 0:
        raise NotApplicable("takes large logits as positive; no logit of any image is")

    def score(features: Array, logits: Array) -> Array:
        return -logsumexp(logits * np.square(top_ratio(features, percentile), dtype=np.float64), axis=1)

    return in_blocks(score, test.features, class_logits(test))


def shaped_energy(shape: Callable[[Array], Array], test: Outputs, reference: Reference) -> Array:
    """-> (N,), -log sum_k exp head(shape(f))_k over the K classes"""
    check_signs(test)
    K = test.log_probs.shape[1]

    def score(features: Array) -> Array:
        return -logsumexp(reference.apply_head(shape(features))[:, :K].astype(np.float64), axis=1)

    return in_blocks(score, test.features)


def check_signs(test: Outputs) -> None:
    """Raise NotApplicable if a feature is negative."""
    if test.features.min() < 0:
        raise NotApplicable("takes features as they leave a ReLU; these go below 0")


def thresholds(reference: Reference, *percentiles: float) -> Array:
    """Return percentiles of all calibration features of all images together. Raises ValueError outside [0, 100]."""
    if not all(0 <= percentile <= 100 for percentile in percentiles) or list(percentiles) != sorted(percentiles):
        raise ValueError(f"percentiles are {percentiles}; they are in [0, 100], the lower one first")
    return percentiles_by_counting(reference.calibration.features, percentiles).astype(np.float32)


def percentiles_by_counting(x: NDArray[np.float32], percentiles: Sequence[float]) -> Array:
    """np.percentile of all numbers of x, (N, D), in float64 and without a sorted copy of them.

    Numbers are counted by the upper half of their bits; where a percentile falls, also by the lower half.
    """
    if any(np.isnan(f).any() for (f,) in blocks(x)):
        return np.full(len(percentiles), np.nan)
    position = (x.size - 1) * np.asarray(percentiles, dtype=np.float64) / 100
    ranks = np.stack([np.floor(position), np.ceil(position)]).astype(np.int64)
    ends = np.cumsum(sum(np.bincount(ordered_bits(f) >> 16, minlength=2**16) for (f,) in blocks(x)))
    upper = np.searchsorted(ends, ranks, side="right")
    values = np.empty(ranks.shape, np.uint32)
    for half in np.unique(upper):
        found = (bits[bits >> 16 == half] & 0xFFFF for bits in (ordered_bits(f) for (f,) in blocks(x)))
        within = np.cumsum(sum(np.bincount(bits, minlength=2**16) for bits in found))
        here = upper == half
        first = ends[half] - within[-1]
        values[here] = (half << 16) + np.searchsorted(within, ranks[here] - first, side="right")
    low, high = np.where(values >> 31, values ^ np.uint32(2**31), ~values).view(np.float32).astype(np.float64)
    between = np.subtract(high, low, out=np.zeros_like(low), where=high != low)  # infinities of one sign are equal
    return low + between * (position - ranks[0])


def ordered_bits(x: NDArray[np.float32]) -> NDArray[np.uint32]:
    """(N, D) -> (N D,), integers that sort like x: its bits, complemented if negative, else with the sign bit set"""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32).ravel()
    return np.where(bits >> 31, ~bits, bits ^ np.uint32(2**31))


def top_count(D: int, percentile: float) -> int:
    """n, the number of features in the top (100 - percentile) % of D, at least 1"""
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; it is in [0, 100]")
    return max(1, D - round(D * percentile / 100))


def top_mask(f: Array, percentile: float) -> Array:
    """(B, D) -> (B, D) bool, True for the n largest of a row, exactly n also with ties"""
    n = top_count(f.shape[1], percentile)
    mask = np.zeros(f.shape, dtype=bool)
    np.put_along_axis(mask, np.argpartition(f, f.shape[1] - n, axis=1)[:, f.shape[1] - n :], True, axis=1)
    return mask


def top_ratio(f: Array, percentile: float) -> Array:
    """(B, D) -> (B, 1), r = sum of f / sum of its n largest; 1 for f = 0"""
    n = top_count(f.shape[1], percentile)
    top = np.partition(f, f.shape[1] - n, axis=1)[:, f.shape[1] - n :].sum(1, keepdims=True)
    return np.divide(f.sum(1, keepdims=True), top, out=np.ones_like(top), where=top > 0)
