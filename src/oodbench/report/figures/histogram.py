"""Histograms of OOD scores, ID against each OOD set, with the thresholds of both FPR@95.

A threshold t accepts the images whose score is <= t, as in `oodbench.evaluation.metrics`. Bins are (low, high], so that
what a threshold at an edge accepts is the sum of the bins below it, exactly.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array
from oodbench.evaluation.metrics.detection import threshold_idpos, threshold_oodpos
from oodbench.report.plot import Axis, Label, Line, Mark, Panel, Plot, Steps, ticks_between
from oodbench.report.scores import Scored

BINS = 80
CROWDED = 0.4  # share of a set's images in one linear bin from which the axis is logarithmic
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TAIL = 0.001  # share of the images beyond either end of the axis; the end bins hold them


EMPTY = Axis("", 0, 1)


class Scale(NamedTuple):
    """Scores as positions on the axis, 0 to 1: linear in the score, or in log10 of the score less `origin`."""

    is_log: bool
    origin: float
    low: float
    high: float

    def position(self, scores: Array) -> Array:
        """(N,) -> (N,), cut to [0, 1]"""
        with np.errstate(divide="ignore"):
            values = np.log10(np.maximum(scores - self.origin, 0)) if self.is_log else scores
        return np.clip((values - self.low) / (self.high - self.low), 0, 1)

    def score(self, positions: Array) -> Array:
        """(N,) -> (N,), the inverse of `position`"""
        values = self.low + positions * (self.high - self.low)
        return self.origin + 10**values if self.is_log else values


class Histogram(NamedTuple):
    """Counts of scores in B bins whose inner edges are `edges`, (B - 1,); the first and last bin hold the tails."""

    scale: Scale
    edges: Array
    ids: NDArray[np.int64]  # (B,)
    oods: dict[str, NDArray[np.int64]]  # {OOD set: (B,)}
    idpos: float  # the lowest threshold that accepts 95 % of ID
    oodpos: dict[str, float]  # {OOD set: the highest threshold that flags 95 % of it}
    at: dict[str, dict[str, tuple[int, int]]]  # {OOD set: {convention: (ID, OOD) images accepted at its threshold}}

    @property
    def bins(self) -> int:
        return len(self.ids)


def histogram_of(scored: Scored, bins: int = BINS) -> Histogram:
    """Count a detector's scores in bins that all sets share."""
    scale = scale_of([scored.ids, *scored.oods.values()])
    edges = scale.score(np.arange(1, bins) / bins)
    idpos = threshold_idpos(scored.ids)
    oodpos = {name: threshold_oodpos(oods) for name, oods in scored.oods.items()}

    def accepted(name: str) -> dict[str, tuple[int, int]]:
        ids, oods = scored.ids, scored.oods[name]
        return {
            "idpos": (int((ids <= idpos).sum()), int((oods <= idpos).sum())),
            "oodpos": (int((ids < oodpos[name]).sum()), int((oods < oodpos[name]).sum())),
        }

    counts = {name: counted(oods, edges) for name, oods in scored.oods.items()}
    at = {name: accepted(name) for name in scored.oods}
    return Histogram(scale, edges, counted(scored.ids, edges), counts, idpos, oodpos, at)


def merged(histogram: Histogram, ood: str) -> int:
    """Return how many neighbouring bins are drawn as one: 1, 2 or 4, so that few images make no comb."""
    smallest = min(histogram.ids.sum(), histogram.oods[ood].sum())
    return next((k for k in (1, 2) if histogram.bins / k <= 4 * smallest ** (1 / 3)), 4)


def counted(scores: Array, edges: Array) -> NDArray[np.int64]:
    """(N,), (B - 1,) -> (B,), images in (-inf, e_1], (e_1, e_2], ..., (e_B-1, inf)"""
    return np.bincount(np.searchsorted(edges, scores, side="left"), minlength=len(edges) + 1)


def scale_of(sets: Sequence[Array]) -> Scale:
    """Return a linear axis, or a logarithmic one above the smallest score where a linear one would crowd one bin."""
    pooled = np.concatenate(sets)
    low, high = (float(q) for q in np.quantile(pooled, [TAIL, 1 - TAIL]))
    if not high > low:
        return Scale(False, 0.0, low - 0.5, low + 0.5)
    linear = Scale(False, 0.0, low, high)
    crowd = max(np.bincount((linear.position(each) * (BINS - 1)).astype(int)).max() / len(each) for each in sets)
    origin = float(pooled.min())
    above = pooled[pooled > origin] - origin
    if crowd < CROWDED or len(above) < 2:
        return linear
    ends = np.log10(np.quantile(above, [0.01, 1 - TAIL]))
    return Scale(True, origin, float(ends[0]), float(ends[1])) if ends[1] > ends[0] else linear


def axis(scale: Scale, name: str) -> Axis:
    """Return the axis of positions with ticks at round scores."""
    if scale.is_log:
        decades = np.arange(np.ceil(scale.low), np.floor(scale.high) + 1)
        step = max(1, -(-len(decades) // 4))
        ticks = [(scale.low, scale.high, d) for d in decades[::-1][::step]]
        printed = [((d - low) / (high - low), f"10{str(int(d)).translate(RAISED)}") for low, high, d in ticks]
        return Axis(f"{name}, above its minimum (log)", 0, 1, printed)
    values = np.array(ticks_between(scale.low, scale.high, 4))
    return Axis(name, 0, 1, [(float(scale.position(values[i : i + 1])[0]), f"{v:g}") for i, v in enumerate(values)])


def panel(
    histogram: Histogram,
    ood: str,
    tone: str,
    title: str,
    subtitle: str,
    name: str = "",
    size: tuple[int, int] = (200, 120),
) -> Panel:
    """Draw the shares of ID and of one OOD set in each bin; a line stands where 95 % of ID are accepted."""
    together = merged(histogram, ood)
    ids, oods = (each.reshape(-1, together).sum(1) / each.sum() for each in (histogram.ids, histogram.oods[ood]))
    edges = np.linspace(0, 1, len(ids) + 1)
    top = 1.08 * max(ids.max(), oods.max())
    at = float(histogram.scale.position(np.array([histogram.idpos]))[0])
    marks: list[Mark] = [
        Steps(edges, ids, "id", filled=True),
        Steps(edges, oods, tone, filled=True),
        Line([at, at], [0, top], "ink", dashed=True, width=1),
    ]
    x = axis(histogram.scale, name) if name else Axis("", 0, 1)
    return Panel(title, x, Axis("", 0, top), marks, subtitle, *size, right=4)


def plot(
    rows: Mapping[str, Histogram], sets: Sequence[tuple[str, str, str]], said: Mapping[tuple[str, str], tuple[str, str]]
) -> Plot:
    """Draw one row of panels per loss, one column per OOD set.

    sets: (key, printed name, tone); said: {(label, set): its numbers, their intervals}.
    """
    panels = []
    for label, histogram in rows.items():
        for key, printed, tone in sets:
            title = f"{label} · {printed}" if len(rows) > 1 else printed
            if key in histogram.oods:
                subtitle, more = said.get((label, key), ("", ""))
                panels.append(panel(histogram, key, tone, title, subtitle)._replace(said=more))
            else:
                panels.append(Panel(title, EMPTY, EMPTY, [Label(0, 0.5, "no outputs", "muted")], "", 200, 120))
    caption = (
        "Each panel: the shares of ID test images (blue) and of OOD images in bins of the OOD score; further right is "
        "more likely OOD. FPR@95: with 95 % of ID accepted, as by the dashed threshold. The end bins hold the tails."
    )
    return Plot("scores", "OOD scores", panels, caption, len(sets))
