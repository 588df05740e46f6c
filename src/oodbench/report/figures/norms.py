"""Norms of features, ID against OOD."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Axis, Label, Mark, Panel, Plot, Steps, axis_of

BINS = 48
TAIL = 0.002
GAP = 1.1  # height of a row, in that of the highest bin
HIGH = 40  # pixels of a row


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
    """Draw the shares of every OOD set in each bin over those of ID, one row per set.

    sets: {OOD set: (printed name, tone)}, from the top.
    """
    edges = np.linspace(found.low, found.high, len(found.ids) + 1)
    ids = found.ids / found.ids.sum()
    shares = {name: found.oods[name] / found.oods[name].sum() for name in sets if name in found.oods}
    row = GAP * max([float(ids.max()), *(float(each.max()) for each in shares.values())])
    marks: list[Mark] = []
    for i, name in enumerate(reversed(shares)):
        base, tone = i * row, sets[name][1]
        marks.append(Steps(edges, ids, "id", filled=True, outlined=False, base=base))
        marks.append(Steps(edges, shares[name], tone, base=base))
        marks.append(Label(found.high, base + 0.7 * row, *sets[name], "end"))
    x_axis = axis_of("feature norm", found.low, found.high, 4)
    return Panel(title, x_axis, Axis("", 0, row * max(1, len(shares))), marks, "", 260, 50 + HIGH * len(shares))


def plot(panels: Sequence[Panel]) -> Plot:
    """Put one panel per loss side by side."""
    caption = "Euclidean norm of the penultimate features: ID test images filled, in each row an OOD set as an outline."
    return Plot("norms", "Feature norms", panels, caption)
