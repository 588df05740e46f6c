"""The plot of growth.py: a column a size, seconds above, MB below."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from timing import Cost

Rows = Mapping[str, Mapping[int, Cost | str]]  # {what: {size: cost}}
COLOURED = 5  # the costliest at the largest size; the others are grey


def draw(axes: Mapping[str, Rows], path: Path) -> None:
    """axes: {label: rows}"""
    matplotlib.use("Agg")
    figure, panels = plt.subplots(2, len(axes), figsize=(3.6 * len(axes), 8), layout="constrained", squeeze=False)
    for column, (label, rows) in zip(panels.T, axes.items(), strict=True):
        for panel, field, unit in zip(column, ("seconds", "memory"), (1, 1e-6), strict=True):
            values = {
                what: {n: unit * getattr(cost, field) for n, cost in series.items() if isinstance(cost, Cost)}
                for what, series in rows.items()
            }
            curves(panel, values)
        column[1].set_xlabel(label)
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("extra memory, MB")
    figure.suptitle("Dotted: proportional to the size", fontsize=10)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def curves(panel: Axes, series: Mapping[str, Mapping[int, float]]) -> None:
    ends = {what: values[max(values)] for what, values in series.items() if values}
    ranking = sorted(ends, key=lambda what: ends[what], reverse=True)
    for rank, what in enumerate(ranking):
        colour, label = (f"C{rank}", what) if rank < COLOURED else ("0.8", None)
        points = zip(*sorted(series[what].items()), strict=True)
        panel.plot(*points, "o-", ms=3, lw=1.2, color=colour, label=label, zorder=-rank)
    panel.set(xscale="log")
    panel.set_yscale("log", nonpositive="clip")
    panel.grid(alpha=0.3)
    if ranking:
        sizes = sorted(series[ranking[0]])
        panel.plot(sizes, [1.6 * ends[ranking[0]] * size / sizes[-1] for size in sizes], "k:", lw=1)
        panel.legend(fontsize=7, loc="upper left")
