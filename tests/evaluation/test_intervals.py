"""Intervals of resampled values."""

import numpy as np
import pytest

from oodbench.evaluation.intervals import basic_interval, basic_share, percentile, percentile_interval

VALUES = np.arange(1001.0)


def test_percentiles_by_hand() -> None:
    assert percentile_interval(VALUES) == pytest.approx((25, 975))
    assert percentile_interval(VALUES, 0.9) == pytest.approx((50, 950))
    assert percentile(3.0, VALUES) == percentile_interval(VALUES)


def test_the_basic_interval_is_turned_over_at_the_value() -> None:
    assert basic_interval(400, VALUES) == pytest.approx((-175, 775))


def test_the_basic_interval_of_a_share_stays_a_share() -> None:
    assert basic_share(0.01, np.linspace(0, 0.1, 1000)) == (0, pytest.approx(0.0175, abs=1e-3))
    assert basic_share(0.95, np.linspace(0.7, 0.9, 1000)) == (1, 1)
    assert basic_share(0.95, np.linspace(0.85, 1, 1000))[1] == 1
    inside = np.linspace(0.4, 0.6, 1000)
    assert basic_share(0.5, inside) == basic_interval(0.5, inside)
