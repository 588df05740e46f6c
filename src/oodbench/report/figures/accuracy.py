"""Accuracy against OOD detection, one point per run."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.report.plot import Dots, Label, Mark, Panel, Plot, Tone, padded, percent_axis, spread_out


class Point(NamedTuple):
    """A run: shares, and the label of its row."""

    label: str
    seed: int
    accuracy: float
    auroc: float


def panel(points: Sequence[Point], title: str, tones: Mapping[str, Tone]) -> Panel:
    """Draw one point per run; each row's name stands at its points' mean. tones: {row: tone}."""
    xs, ys = [p.accuracy for p in points], [p.auroc for p in points]
    (x_low, x_high), (y_low, y_high) = padded(xs, 0.1), padded(ys, 0.1)
    marks: list[Mark] = []
    ends: list[tuple[float, str, str]] = []
    for label, (tone, hollow) in tones.items():
        of_row = [p for p in points if p.label == label]
        if not of_row:
            continue
        titles = [
            f"{p.label}, seed {p.seed}: accuracy {100 * p.accuracy:.2f}, AUROC {100 * p.auroc:.2f}" for p in of_row
        ]
        marks.append(Dots([p.accuracy for p in of_row], [p.auroc for p in of_row], tone, 3.5, hollow, titles))
        ends.append((float(np.mean([p.auroc for p in of_row])), label, tone))
    placed = spread_out([y for y, _, _ in ends], 12 / 190 * (y_high - y_low), y_low, y_high)
    marks += [Label(x_high, y, f" {label}", tone) for y, (_, label, tone) in zip(placed, ends, strict=True)]
    room = 12 + int(5.6 * max((len(label) for _, label, _ in ends), default=0))
    x, y = percent_axis("accuracy (%)", x_low, x_high), percent_axis("AUROC (%)", y_low, y_high)
    return Panel(title, x, y, marks, "", 280 + room, 240, room)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put panels of OOD sets side by side."""
    caption = "One point per run, with the loss's own score. A name stands at the mean height of its points."
    return Plot("accuracy", "Accuracy against detection", panels, caption)
