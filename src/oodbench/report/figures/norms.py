"""Norms of features, ID against OOD."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Axis, Label, Mark, Panel, Plot, Steps, axis_of

BINS = 48
TAIL = 0.002


class Norms(NamedTuple):
    """Counts of |f| in B equal bins from low to high, which all sets share; the end bins hold the tails."""

    low: float
    high: float
    ids: NDArray[np.int64]  # (B,)
    oods: dict[str, NDArray[np.int64]]


def norms_of(ids: Array, oods: Mapping[str, Array], bins: int = BINS) -> Norms:
    """(N, D), {set: (M, D)} -> counts of the Euclidean norms"""
    norms = {"": norm(ids)} | {name: norm(features) for name, features in oods.items()}
    low, high = (float(q) for q in np.quantile(np.concatenate(list(norms.values())), [TAIL, 1 - TAIL]))
    high = high if high > low else low + 1e-6
    edges = np.linspace(low, high, bins + 1)[1:-1]
    counts = {
        name: np.bincount(np.searchsorted(edges, values, side="left"), minlength=bins) for name, values in norms.items()
    }
    return Norms(low, high, counts.pop(""), counts)


def norm(features: Array) -> Array:
    """(N, D) -> (N,), |f|, in float64"""
    return np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))


def panel(found: Norms, title: str, sets: Mapping[str, tuple[str, str]]) -> Panel:
    """Draw the shares of ID and of every OOD set in each bin. sets: {OOD set: (printed name, tone)}."""
    edges = np.linspace(found.low, found.high, len(found.ids) + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    ids = found.ids / found.ids.sum()
    shares = {name: counts / counts.sum() for name, counts in found.oods.items() if name in sets}
    marks: list[Mark] = [Steps(edges, ids, "id", filled=True), Steps(edges, ids, "id")]
    marks += [Steps(edges, each, sets[name][1]) for name, each in shares.items()]
    peaks = {name: (float(middles[each.argmax()]), float(each.max())) for name, each in shares.items()}
    highest = max([float(ids.max()), *(y for _, y in peaks.values())])
    placed = apart(peaks, 0.22 * (found.high - found.low), 0.1 * highest)
    marks += [Label(x, y, *sets[name], _anchor(x, found), 4) for name, (x, y) in placed.items()]
    top = max([1.05 * highest, *(y + 0.12 * highest for _, y in placed.values())])
    x_axis = axis_of("feature norm", found.low, found.high, 4)
    return Panel(title, x_axis, Axis("", 0, top), marks, "", 260, 170)


def _anchor(x: float, found: Norms) -> str:
    """Keep a label inside the panel"""
    share = (x - found.low) / (found.high - found.low)
    return "start" if share < 0.15 else "end" if share > 0.85 else "middle"


def apart(points: Mapping[str, tuple[float, float]], wide: float, high: float) -> dict[str, tuple[float, float]]:
    """Lift labels of a size, in the units of the axes, until none lies over another; the lowest stays where it is."""
    placed: dict[str, tuple[float, float]] = {}
    for name, (x, y) in sorted(points.items(), key=lambda point: point[1][1]):
        while covered := [v for u, v in placed.values() if abs(u - x) < wide and abs(v - y) < high * (1 - 1e-9)]:
            y = max(covered) + high
        placed[name] = (x, y)
    return placed


def plot(panels: Sequence[Panel]) -> Plot:
    """Put one panel per loss side by side."""
    caption = "Euclidean norm of the penultimate features: ID test images filled, each OOD set an outline."
    return Plot("norms", "Feature norms", panels, caption)
