"""95 % intervals of a number from its resampled values."""

import numpy as np

from oodbench.evaluation.arrays import Array

Interval = tuple[float, float]


def percentile_interval(values: Array, level: float = 0.95) -> Interval:
    """(R,) -> the central share `level` of the resampled values (Efron & Tibshirani, 1993, sec. 13.3)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
