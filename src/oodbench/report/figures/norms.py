"""Norms of features, ID against OOD."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Axis, Mark, Panel, Plot, Steps, axis_of

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


def panel(found: Norms, title: str, tones: Mapping[str, str], subtitle: str = "") -> Panel:
    """Draw the shares of ID and of every OOD set in each bin. tones: {OOD set: tone}."""
    edges = np.linspace(found.low, found.high, len(found.ids) + 1)
    ids = found.ids / found.ids.sum()
    shares = {name: counts / counts.sum() for name, counts in found.oods.items()}
    top = 1.08 * max(ids.max(), *(each.max() for each in shares.values())) if shares else 1.08 * ids.max()
    marks: list[Mark] = [Steps(edges, ids, "id", filled=True), Steps(edges, ids, "id")]
    marks += [Steps(edges, each, tones.get(name, "muted")) for name, each in shares.items()]
    return Panel(title, axis_of("feature norm", found.low, found.high, 4), Axis("", 0, top), marks, subtitle, 240, 150)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put a panel a loss side by side."""
    caption = "Euclidean norm of the penultimate features: ID test images filled, each OOD set an outline."
    return Plot("norms", "Feature norms", panels, caption)
