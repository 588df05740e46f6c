"""Plots -> PDF and SVG in the widths of two-column papers, with colours that colour-blind readers tell apart."""

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from oodbench.evaluation.metric import MISSING
from oodbench.report.gallery import figures_of
from oodbench.report.heat import Heat, heat_of, tint
from oodbench.report.material import Section
from oodbench.report.plot import Bars, Dots, Label, Line, Mark, Panel, Plot, Steps
from oodbench.storage import write_atomic
from oodbench.tables.names import score_name

COLUMN, PAGE = 3.25, 6.75  # inches: a column, and both, of the two-column styles of CVPR, ICML and IEEE
PIXELS = 105  # of the page per inch
FORMATS = ("pdf", "svg", "png")
COLORS = {  # Okabe & Ito, 2008; yellow is left out, which white paper swallows
    "id": "#0072b2", "near": "#d55e00", "far": "#009e73", "shifted": "#cc79a7", "gap": "#d55e00", "ink": "#000000",
    "muted": "#666666", "faint": "#bbbbbb", "c0": "#0072b2", "c1": "#d55e00", "c2": "#009e73", "c3": "#cc79a7",
    "c4": "#b98300", "c5": "#56b4e9", "c6": "#000000", "c7": "#8a6d3b",
}  # fmt: skip
STYLE: Any = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral"],  # comes with matplotlib and matches Times, the text of these papers
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.linewidth": 0.5,
    "pdf.fonttype": 42,  # publishers refuse Type 3
    "svg.fonttype": "path",
    "svg.hashsalt": "oodbench",  # the same file again for the same numbers
}


def save(plot: Plot, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write a plot as <stem>.<format>; return the files. Raises ValueError for an unknown format."""
    with mpl.rc_context(STYLE):
        return _written(drawn(plot), stem, formats)


def _written(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    if unknown := sorted(set(formats) - set(FORMATS)):
        raise ValueError(f"no format {', '.join(unknown)}; available: {', '.join(FORMATS)}")
    files = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    for file, kind in zip(files, formats, strict=True):
        dated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}.get(kind, {})
        content = io.BytesIO()
        figure.savefig(content, format=kind, metadata=dated, dpi=300)
        write_atomic(file, content.getvalue())
    return files


def drawn(plot: Plot) -> Figure:
    """Draw a plot: one panel in one column, several over both, as many side by side as on the page."""
    n = len(plot.panels)
    columns = min(n, plot.columns or max(1, min(4, round(PAGE * PIXELS * 1.5 / max(p.width for p in plot.panels)))))
    rows = -(-n // columns)
    width = COLUMN if columns == 1 else PAGE
    shape = max(panel.height for panel in plot.panels) / max(panel.width for panel in plot.panels)
    height = min(9.0, rows * (width / columns) * shape * 1.06)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for place, panel in zip(axes, plot.panels, strict=False):
        draw(place, panel)
    for place in axes[n:]:
        place.set_axis_off()
    return figure


def draw(axes: Any, panel: Panel) -> None:
    """Draw a panel on matplotlib axes."""
    title = panel.title + (f"\n{panel.subtitle}" if panel.subtitle else "")
    axes.set_title(_plain(title), loc="left", fontsize=7)
    axes.set_xlim(panel.x.low, panel.x.high)
    axes.set_ylim(panel.y.low, panel.y.high)
    axes.set_xlabel(_plain(panel.x.label), fontsize=7, labelpad=1.5)
    axes.set_ylabel(_plain(panel.y.label), fontsize=7, labelpad=1.5)
    axes.set_xticks([v for v, _ in panel.x.ticks], [_plain(text) for _, text in panel.x.ticks], fontsize=6.5)
    axes.set_yticks([v for v, _ in panel.y.ticks], [_plain(text) for _, text in panel.y.ticks], fontsize=6.5)
    axes.tick_params(length=2, width=0.5, pad=1.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["left"].set_visible(bool(panel.y.ticks) and bool(panel.y.label))
    if not panel.y.label:
        axes.tick_params(axis="y", length=0)
    for mark in panel.marks:
        _mark(axes, mark)


def _mark(axes: Any, mark: Mark) -> None:
    color = COLORS[mark.tone]
    match mark:
        case Line():
            axes.plot(mark.xs, mark.ys, color=color, lw=0.6 * mark.width, ls=(0, (3, 2)) if mark.dashed else "-")
        case Steps():
            heights = mark.base + np.asarray(mark.heights, float)
            if mark.filled:
                axes.stairs(heights, mark.edges, baseline=mark.base, color=color, fill=True, alpha=0.2, lw=0)
            if mark.outlined:
                axes.stairs(heights, mark.edges, baseline=mark.base, color=color, lw=0.7)
        case Bars():
            left, right, low, high = (np.asarray(each, float) for each in mark[:4])
            alpha = 0.6 if mark.tone == "gap" else 0.35
            axes.bar(left, high - low, right - left, low, align="edge", color=color, alpha=alpha, lw=0)
        case Dots():
            points: dict[str, Any] = {"facecolors": "white", "edgecolors": color} if mark.hollow else {"color": color}
            axes.scatter(
                mark.xs,
                mark.ys,
                s=(0.75 * mark.radius) ** 2 * 2.2,
                lw=0.7 * mark.hollow,
                zorder=3,
                clip_on=False,
                **points,
            )
        case Label():
            axes.annotate(
                _plain(mark.text), (mark.x, mark.y), (0, 0.7 * mark.up), textcoords="offset points", color=color,
                ha={"start": "left", "middle": "center", "end": "right"}[mark.anchor], va="center", fontsize=6.5,
                annotation_clip=False,
            )  # fmt: skip


def _plain(text: str) -> str:
    """Keep matplotlib from reading a run's text as mathematics."""
    return text.replace("$", r"\$")


def write_figures(sections: Sequence[Section], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write all figures of all sections as <data set>-<figure>.<format>; later protocols of a data set are numbered."""
    files: list[Path] = []
    for prefix, section in prefixes(sections).items():
        for plot in figures_of(section):
            files += save(plot, folder / f"{prefix}{plot.name}", formats)
        files += save_heat(heat_of(section), folder / f"{prefix}heat", formats)
    return files


def prefixes(sections: Sequence[Section]) -> dict[str, Section]:
    """{"digits-", "digits-2-", ...: section}, with which the names of its figures begin"""
    times: Counter[str] = Counter()
    found = {}
    for section in sections:
        times[section.dataset] += 1
        number = f"{times[section.dataset]}-" if times[section.dataset] > 1 else ""
        found[f"{section.dataset}-{number}"] = section
    return found


def save_heat(heat: Heat, stem: Path, formats: Sequence[str]) -> list[Path]:
    """Write the numbers of loss x detector as a tinted table; nothing where there are none."""
    if not heat.columns or len(heat.detectors) < 2:
        return []
    rows = heat.numbers[heat.choices[0][0], "auroc"]
    values = np.array([[tint(n.mean, "auroc") if n else np.nan for n in row] for row in rows])
    with mpl.rc_context(STYLE):
        width = COLUMN if len(heat.columns) < 5 else PAGE
        figure = Figure(figsize=(width, min(9.0, 0.5 + 0.15 * len(rows))), layout="constrained")
        axes: Any = figure.subplots()
        axes.imshow(values, cmap="Blues", vmin=0, vmax=1.5, aspect="auto")
        for i, row in enumerate(rows):
            for j, number in enumerate(row):
                weight = "bold" if number and number.is_best else "normal"
                text = f"{100 * number.mean:.1f}" if number else MISSING
                axes.text(j, i, text, ha="center", va="center", fontsize=6, fontweight=weight)
        axes.set_xticks(range(len(heat.columns)), [_plain(name) for name in heat.columns], fontsize=6.5)
        axes.set_yticks(range(len(rows)), [_plain(score_name(d)) for d in heat.detectors], fontsize=6.5)
        axes.set_title(f"AUROC (%), {_plain(heat.choices[0][1])}", loc="left", fontsize=7)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return _written(figure, stem, formats)
