"""Intervals of resampled values."""

import numpy as np
import pytest

from oodbench.evaluation.intervals import percentile_interval

VALUES = np.arange(1001.0)


def test_percentiles_by_hand() -> None:
    assert percentile_interval(VALUES) == pytest.approx((25, 975))
    assert percentile_interval(VALUES, 0.9) == pytest.approx((50, 950))
