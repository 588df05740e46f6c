"""Costs -> results/growth.md and results/growth.png"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from PIL import Image

from benchmarks.forked import Cost, exponent
from benchmarks.growth_theory import DETECTORS, OTHERS

Series = Mapping[int, Cost | str]  # {size: cost, or why there is none}
Costs = dict[str, dict[str, dict[int, Cost | str]]]  # {axis: {what: series}}
LEAST = {"seconds": 0.002, "memory": 2e6}  # below it a figure is noise, and a slope of two such figures nothing
PANELS = {  # axis: (label, section's head)
    "features": ("N, training images", "Detectors against N"),
    "classes": ("K, classes", "Detectors against K"),
    "detectors": ("n, detectors at once", "`evaluate` against the number of detectors"),
    "images": ("M, ID images judged", "Metrics, calibration and bootstrap against the images judged"),
    "classes of a loss": ("K, classes of a loss", "Losses, forward and backward, against K"),
    "batch": ("B, batch of a loss", "Losses, forward and backward, against the batch"),
}


def table(costs: Costs, fixed: Mapping[str, Any], machine: str) -> str:
    D, N, K = (f"{fixed[key]:,}" for key in ("dimensions", "fixed_features", "fixed_classes"))
    judged, B = f"{fixed['judged']:,}", f"{fixed['fixed_batch']:,}"
    held = {
        "features": f"{K} classes, {judged} images judged.",
        "classes": f"{N} training images, {judged} images judged.",
        "detectors": f"The first n of conf/detector/all.yaml, with calibration and bootstrap; {N} training images, {K} "
        f"classes, {judged} images judged, half of them ID.",
        "images": f"{K} classes, as many OOD images as ID, 1,000 resamples.",
        "classes of a loss": f"A batch of {B}.",
        "batch": f"{K} classes.",
    }
    parts = [
        "# How cost grows",
        f"Made by `python scripts/growth.py` on {machine}; synthetic outputs of {D} features.",
        "- Each figure is of a process of its own, after a warm-up on little data: seconds of the fastest run of up to "
        "five within half a second; MB = 10⁶ bytes, highest resident memory less that before the first run, so without "
        "the inputs (at 1,000,000 images of 512 features and 100 classes 3.3 GB).",
        "- `^` is the exponent p of size^p between the two largest sizes. `·`: one of the two is below "
        f"{1000 * LEAST['seconds']:.0f} ms or {LEAST['memory'] / 1e6:.0f} MB, which is noise. It is below what theory "
        "says where the term that grows is not yet the largest.",
        f"- `> s` or `> GB`: left out, as it took more than {fixed['limit']:.0f} s or {fixed['memory']:.0f} GB.",
        "- Expected: N training images, M judged ones, K classes, D features, B batch, R resamples, b rows of a block, "
        "which grows with nothing. Memory counts what is not stored anyway.",
        "![time and memory against every size](growth.png)",
    ]
    for axis, rows in in_order(costs):
        parts += [f"## {PANELS[axis][1]}", held[axis] + total(costs, axis), rows_of(rows)]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def in_order(costs: Costs) -> list[tuple[str, dict[str, dict[int, Cost | str]]]]:
    """The axes as PANELS has them, whatever was measured first."""
    return [(axis, costs[axis]) for axis in PANELS if axis in costs]


def total(costs: Costs, axis: str) -> str:
    """How many seconds all detectors take one by one, where the table is of them."""
    if axis not in ("features", "classes"):
        return ""
    sums: dict[int, float] = {}
    for series in costs[axis].values():
        for size, cost in series.items():
            sums[size] = sums.get(size, 0) + (cost.seconds if isinstance(cost, Cost) else 0)
    return " All one by one: " + ", ".join(f"{seconds:.3g} s at {size:,}" for size, seconds in sums.items()) + "."


def rows_of(rows: Mapping[str, Series]) -> str:
    sizes = list(next(iter(rows.values())))
    head = ["", *(f"s at {size:,}" for size in sizes), "^", "expected", *(f"MB at {size:,}" for size in sizes[-2:])]
    rule = ["---", *["---:"] * (len(sizes) + 1), "---", *["---:"] * (len(sizes[-2:]) + 1), "---", "---"]
    lines = [[*head, "^", "expected", "why"], rule]
    for what, series in rows.items():
        growth = (DETECTORS | OTHERS)[what]
        seconds = [f"{c.seconds:.2g}" if isinstance(c, Cost) else c for c in series.values()]
        memory = [f"{c.memory / 1e6:.0f}" if isinstance(c, Cost) else c for c in list(series.values())[-2:]]
        lines.append([what, *seconds, slope(series, "seconds"), growth.seconds])
        lines[-1] += [*memory, slope(series, "memory"), growth.memory, growth.why]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def slope(series: Series, field: str) -> str:
    p = exponent({size: getattr(c, field) for size, c in series.items() if isinstance(c, Cost)}, LEAST[field])
    return "·" if p is None else f"{p:.1f}"


def draw(costs: Costs, path: Path, machine: str) -> None:
    """A column an axis, seconds above, MB below; the five costliest of each panel in colour."""
    matplotlib.use("Agg")
    figure, panels = plt.subplots(2, len(costs), figsize=(3.6 * len(costs), 8), layout="constrained", squeeze=False)
    for column, (axis, rows) in zip(panels.T, in_order(costs), strict=True):
        for panel, field, unit in zip(column, ("seconds", "memory"), (1.0, 1e-6), strict=True):
            curves(panel, rows, field, unit)
            panel.set_xlabel(PANELS[axis][0])
    panels[0, 0].set_ylabel("seconds")
    panels[1, 0].set_ylabel("extra memory, MB")
    figure.suptitle(f"{machine}. Dotted: proportional to the size", fontsize=10)
    figure.savefig(path, dpi=80)
    plt.close(figure)
    with Image.open(path) as image:
        few_colours = image.convert("RGB").quantize(64)  # a third of the bytes
    few_colours.save(path, optimize=True)


def curves(panel: Axes, rows: Mapping[str, Series], field: str, unit: float) -> None:
    least = LEAST[field] / 10  # what a logarithmic axis can show
    points = {
        what: {size: max(getattr(c, field), least) * unit for size, c in series.items() if isinstance(c, Cost)}
        for what, series in rows.items()
    }
    ends = {what: values[max(values)] for what, values in points.items() if values}
    first = sorted(ends, key=lambda what: ends[what], reverse=True)
    for rank, what in reversed(list(enumerate(first))):
        colour, label = (f"C{rank}", what) if rank < 5 else ("0.8", None)
        panel.plot(*zip(*points[what].items(), strict=True), "o-", ms=3, lw=1.2, color=colour, label=label)
    if first:
        sizes = list(points[first[0]])
        panel.plot(sizes, [ends[first[0]] * 1.6 * size / sizes[-1] for size in sizes], "k:", lw=1)
    panel.set(xscale="log", yscale="log")
    panel.grid(alpha=0.3)
    handles, labels = panel.get_legend_handles_labels()
    panel.legend(handles[::-1], labels[::-1], fontsize=7, loc="upper left")
