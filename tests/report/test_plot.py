"""Axes, ticks and the places of labels."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from oodbench.report.plot import padded, percent_axis, spread_out, ticks_between, tones_of


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(2, 6))
def test_ticks_are_round_and_inside(low: float, width: float, n: int) -> None:
    ticks = ticks_between(low, low + width, n)
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    assert len(ticks) <= n + 1
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0], rtol=1e-6) if len(steps) else True


def test_ticks_of_percents() -> None:
    assert [text for _, text in percent_axis("%").ticks] == ["0", "50", "100"]
    assert ticks_between(3, 3, 4) == [3]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.floats(0.1, 3))
def test_labels_are_apart_and_in_order(wanted: list[float], gap: float) -> None:
    placed = spread_out(wanted, gap)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(np.array(placed)[order]) >= gap - 1e-9).all()
    assert np.isclose(np.mean(placed), np.mean(wanted), atol=1e-6)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_labels_stay_within_bounds(wanted: list[float]) -> None:
    placed = spread_out(wanted, 0.5, 0.0, 4.0)
    assert min(placed) >= 0
    assert max(placed) <= 4 + 1e-9
    assert (np.diff(sorted(placed)) >= 0.5 - 1e-9).all()


def test_labels_with_room_stay() -> None:
    assert spread_out([5.0, 1.0], 1.0) == [5.0, 1.0]


def test_a_range_is_never_empty() -> None:
    low, high = padded([2.0, 2.0])
    assert low < 2 < high


def test_after_the_last_colour_series_are_dashed() -> None:
    tones = tones_of(map(str, range(9)))
    assert tones["0"] == ("c0", False)
    assert tones["8"] == ("c0", True)
