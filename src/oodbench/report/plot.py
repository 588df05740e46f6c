"""Figures as data: panels of marks between two axes. `svg` draws them for the page, `vector` for papers.

A tone is a colour by its role: "id", "near", "far", "shifted", "gap", "ink", "muted", "faint", or "c0", "c1", ... of a
series.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array

SERIES = 8  # colours of series; what comes after them repeats them, dashed


class Axis(NamedTuple):
    """A linear axis from low to high; ticks: (value, text)."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = ()


class Line(NamedTuple):
    """A line through points, (N,) and (N,)."""

    xs: Sequence[float] | Array
    ys: Sequence[float] | Array
    tone: str
    dashed: bool = False
    width: float = 1.5


class Steps(NamedTuple):
    """A histogram: B heights over B + 1 edges, an outline, a filled area or both; base: where it stands."""

    edges: Sequence[float] | Array
    heights: Sequence[float] | Array
    tone: str
    filled: bool = False
    outlined: bool = True
    base: float = 0.0


class Bars(NamedTuple):
    """Rectangles from (left, low) to (right, high), each (N,)."""

    left: Sequence[float] | Array
    right: Sequence[float] | Array
    low: Sequence[float] | Array
    high: Sequence[float] | Array
    tone: str


class Dots(NamedTuple):
    """Points, (N,) and (N,), with a text each that a pointer shows; radius in pixels."""

    xs: Sequence[float] | Array
    ys: Sequence[float] | Array
    tone: str
    radius: float = 3.0
    hollow: bool = False
    titles: Sequence[str] = ()


class Label(NamedTuple):
    """A text at a point; anchor: the part of it that stands there, "start", "middle" or "end"; up: pixels above it."""

    x: float
    y: float
    text: str
    tone: str = "ink"
    anchor: str = "start"
    up: float = 0.0


Mark = Line | Steps | Bars | Dots | Label


class Panel(NamedTuple):
    """Marks between two axes. width, height: of the whole panel, in pixels of the page."""

    title: str
    x: Axis
    y: Axis
    marks: Sequence[Mark]
    subtitle: str = ""
    width: int = 240
    height: int = 170
    right: int = 8  # room for labels at the ends of lines
    said: str = ""  # what a pointer shows


class Plot(NamedTuple):
    """A figure. columns: panels side by side where there is room; 0: as many as fit."""

    name: str  # of its file
    title: str
    panels: Sequence[Panel]
    caption: str
    columns: int = 0


Tone = tuple[str, bool]  # and whether a line is dashed, a point hollow


def tones_of(labels: Iterable[str]) -> dict[str, Tone]:
    """Return a colour for every series of a section, the same in all of its figures."""
    return {label: (f"c{i % SERIES}", i >= SERIES) for i, label in enumerate(labels)}


def percent_axis(label: str, low: float = 0.0, high: float = 1.0, ticks: int = 4) -> Axis:
    """Return an axis of shares, printed in percent."""
    values = ticks_between(100 * low, 100 * high, ticks)
    return Axis(label, low, high, [(value / 100, f"{value:g}") for value in values])


def axis_of(label: str, low: float, high: float, ticks: int = 4) -> Axis:
    """Return an axis with ticks at round values."""
    return Axis(label, low, high, [(value, f"{value:g}") for value in ticks_between(low, high, ticks)])


def ticks_between(low: float, high: float, n: int) -> list[float]:
    """Return about n multiples of 1, 2 or 5 times a power of ten from low to high; one value for an empty range."""
    if not high > low:
        return [low]
    raw = (high - low) / n
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if raw <= power * m * (1 + 1e-9))
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [round(float(k * step), 12) + 0.0 for k in np.arange(first, last + 1)]


def padded(values: Sequence[float] | Array, share: float = 0.06) -> tuple[float, float]:
    """Return the range of values, wider by a share of it at both ends; at least 1e-6 wide."""
    low, high = float(np.min(values)), float(np.max(values))
    room = max(share * (high - low), 1e-6)
    return low - room, high + room


def spread_out(positions: Sequence[float], gap: float, low: float = -np.inf, high: float = np.inf) -> list[float]:
    """Move positions as little as needed for neighbours to be `gap` apart, from low to high; in the order given.

    Where there is no room for all of them they begin at low.
    """
    order = np.argsort(positions, kind="stable")
    groups: list[list[float]] = []  # of wanted positions; a group stands evenly around its mean
    for wanted in np.asarray(positions, float)[order]:
        groups.append([wanted])
        while len(groups) > 1 and _start(groups[-2], gap, low, high) + gap * len(groups[-2]) > _start(
            groups[-1], gap, low, high
        ):
            groups[-2:] = [groups[-2] + groups[-1]]
    placed = [_start(group, gap, low, high) + i * gap for group in groups for i in range(len(group))]
    found = np.empty(len(placed))
    found[order] = placed
    return [float(value) for value in found]


def _start(group: Sequence[float], gap: float, low: float, high: float) -> float:
    """Return where the lowest of a group stands"""
    across = gap * (len(group) - 1)
    return max(low, min(float(np.mean(group)) - across / 2, high - across))
