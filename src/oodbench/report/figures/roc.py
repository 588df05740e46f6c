"""ROC curves: the share of OOD accepted against the share of ID accepted, every point an exact one."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Dots, Label, Line, Mark, Panel, Plot, Tone, percent_axis

POINTS = 48


class Roc(NamedTuple):
    """Shares accepted at falling strictness: of OOD (the FPR of ID as the positive class), (P,), and of ID, (P,)."""

    oods: Array
    ids: Array


def roc_of(ids: Array, oods: Array, points: int = POINTS) -> Roc:
    """(N,), (M,) -> some points of the ROC curve, both ends among them, evenly spaced along x + y.

    A point is (share of OOD with a score <= t, share of ID with a score <= t), t a score that occurs.
    """
    thresholds = np.unique(np.concatenate([ids, oods]))
    x = np.searchsorted(np.sort(oods), thresholds, side="right") / len(oods)
    y = np.searchsorted(np.sort(ids), thresholds, side="right") / len(ids)
    x, y = np.concatenate([[0.0], x]), np.concatenate([[0.0], y])
    kept = np.unique(np.searchsorted(x + y, np.linspace(0, 2, points) - 1e-12))
    kept = np.unique(np.append(kept[kept < len(x)], len(x) - 1))
    return Roc(x[kept], y[kept])


class Curve(NamedTuple):
    """One ROC curve with its numbers, shares."""

    roc: Roc
    auroc: float
    idpos: float | None  # FPR@95, 95 % of ID accepted
    oodpos: float | None  # FPR@95, 95 % of OOD caught


def panel(
    curves: Mapping[str, Curve], tones: Mapping[str, Tone], title: str, size: tuple[int, int] = (212, 225)
) -> Panel:
    """Draw one curve per loss, with its two points of FPR@95: at 95 % of ID accepted, and at 5 % of OOD accepted.

    A curve named "" has no label.
    """
    marks: list[Mark] = [
        Line([0, 1], [0, 1], "faint", width=1),
        Line([0, 1], [0.95, 0.95], "muted", dashed=True, width=1),
        Line([0.05, 0.05], [0, 1], "muted", dashed=True, width=1),
    ]
    for name, curve in curves.items():
        tone, dashed = tones[name]
        marks.append(Line(curve.roc.oods, curve.roc.ids, tone, dashed))
        ends = [(curve.idpos, 0.95)] if curve.idpos is not None else []
        ends += [(0.05, 1 - curve.oodpos)] if curve.oodpos is not None else []
        marks.append(
            Dots(
                [x for x, _ in ends],
                [y for _, y in ends],
                tone,
                3.2,
                titles=[_said(name, curve)] * len(ends),
            )
        )
    marks += _names(curves, tones)
    room = 8 if list(curves) == [""] else 52 + int(5.6 * max(map(len, curves)))
    x, y = percent_axis("OOD accepted (%)"), percent_axis("ID accepted (%)")
    return Panel(title, x, y, marks, "", size[0] + room - 8, size[1], room)


def _names(curves: Mapping[str, Curve], tones: Mapping[str, Tone]) -> list[Mark]:
    """Write the curves' names with their AUROC beside the panel, the highest first"""
    order = sorted((name for name in curves if name), key=lambda name: -curves[name].auroc)
    return [
        Label(1.03, 0.95 - 0.075 * i, f"{name} {100 * curves[name].auroc:.2f}", tones[name][0])
        for i, name in enumerate(order)
    ]


def _said(name: str, curve: Curve) -> str:
    parts = [f"{name}: AUROC {100 * curve.auroc:.2f}"]
    parts += [f"FPR@95 (95 % of ID accepted) {100 * curve.idpos:.2f}"] if curve.idpos is not None else []
    parts += [f"FPR@95 (95 % of OOD caught) {100 * curve.oodpos:.2f}"] if curve.oodpos is not None else []
    return ", ".join(parts)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put panels of OOD sets side by side."""
    caption = (
        "With AUROC (%). Dashed: 95 % of ID accepted, and 95 % of OOD caught, which is 5 % of OOD accepted. Where a "
        "curve meets the first, the distance to the left edge is FPR@95 (95 % of ID accepted); where it meets the "
        "second, the distance to the top is FPR@95 (95 % of OOD caught). Every point is exact; few are drawn."
    )
    return Plot("roc", "ROC curves", panels, caption)
