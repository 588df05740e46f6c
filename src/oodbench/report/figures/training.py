"""Training curves: loss and accuracy of each epoch, as train.csv has them."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Axis, Label, Line, Mark, Panel, Plot, Tone, axis_of, padded, percent_axis, spread_out

POINTS = 60  # epochs that are drawn, evenly spaced, the first and last among them


class History(NamedTuple):
    """(E,) each; NaN where the file has no number."""

    epoch: Array
    loss: Array
    accuracy: Array  # of the training images, augmented, as they were met


def history_of(content: bytes) -> History | None:
    """Return what train.csv holds; None where it has no numbered epochs."""
    rows = list(csv.DictReader(io.StringIO(content.decode(errors="replace"), newline="")))
    columns = [np.array([_number(row.get(name)) for row in rows]) for name in ("epoch", "loss", "accuracy")]
    return thinned(History(*columns)) if len(rows) and np.isfinite(columns[0]).all() else None


def _number(text: object) -> float:
    try:
        return float(str(text))
    except ValueError:
        return float("nan")


def thinned(history: History, points: int = POINTS) -> History:
    """Keep at most `points` epochs, evenly spaced, the first and the last among them."""
    n = len(history.epoch)
    kept = np.unique(np.round(np.linspace(0, n - 1, min(n, points))).astype(int))
    return History(*(column[kept] for column in history))


def plot(runs: Mapping[str, Sequence[History]], tones: Mapping[str, Tone]) -> Plot:
    """Draw one line per run, its colour by row. runs: {label: the histories of its seeds}."""
    histories = [history for each in runs.values() for history in each]
    last = max((float(h.epoch[-1]) for h in histories), default=1.0)
    panels = [
        _panel(runs, tones, "Training loss", "loss", last, _loss_axis([h.loss for h in histories])),
        _panel(runs, tones, "Training accuracy", "accuracy", last, _accuracy_axis([h.accuracy for h in histories])),
    ]
    caption = (
        "One line per run. Losses have different scales: their values are comparable within a loss only. Accuracy: of "
        "the augmented training images, while the weights were changing."
    )
    return Plot("training", "Training", panels, caption)


def _panel(
    runs: Mapping[str, Sequence[History]], tones: Mapping[str, Tone], title: str, field: str, last: float, y: Axis
) -> Panel:
    marks: list[Mark] = []
    ends: dict[str, tuple[float, str]] = {}
    for label, histories in runs.items():
        tone, dashed = tones[label]
        for history in histories:
            values = np.clip(_scaled(getattr(history, field), field), y.low, y.high)
            marks.append(Line(history.epoch, values, tone, dashed, 1.2))
            if np.isfinite(values[-1]):
                ends[label] = float(values[-1]), tone
    gap = 11 / 190 * (y.high - y.low)
    placed = spread_out([value for value, _ in ends.values()], gap, y.low, y.high) if ends else []
    marks += [Label(last, at, f" {label}", tone) for at, (label, (_, tone)) in zip(placed, ends.items(), strict=True)]
    room = 12 + int(5.6 * max(map(len, ends), default=0))
    x = axis_of("epoch", 1.0, max(last, 2.0))
    return Panel(title, x, y, marks, "", 300 + room, 240, room)


def _scaled(values: Array, field: str) -> Array:
    """Put losses on a logarithmic scale: they span decades"""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log10(values) if field == "loss" else values


def _loss_axis(losses: Sequence[Array]) -> Axis:
    values = np.concatenate([*losses, [1.0]])
    values = values[np.isfinite(values) & (values > 0)]
    low, high = padded(np.log10(values))
    ticks = [(float(np.log10(m) + d), f"{m * 10.0**d:g}") for d in range(-6, 7) for m in (1, 3)]
    shown = [tick for tick in ticks if low <= tick[0] <= high]
    return Axis("loss (log scale)", low, high, shown if len(shown) < 8 else shown[::2])


def _accuracy_axis(accuracies: Sequence[Array]) -> Axis:
    values = np.concatenate([*accuracies, [1.0]])
    low = float(np.nanmin(values))
    return percent_axis("accuracy (%)", max(0.0, low - 0.02), 1.01)
