"""Panels -> SVG, drawn in classes that the page's style colours, so that one drawing serves light, dark and print."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from oodbench.evaluation.arrays import Array
from oodbench.report.plot import Axis, Bars, Dots, Label, Line, Mark, Panel, Steps

CHARACTER = 5.6  # pixels, of 10 px text


class Frame(NamedTuple):
    """Pixels of the area between the axes, and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x: Axis
    y: Axis

    def px(self, values: Sequence[float] | Array) -> Array:
        """(N,) -> (N,) pixels from the left"""
        share = (np.asarray(values, float) - self.x.low) / ((self.x.high - self.x.low) or 1)
        return self.left + share * (self.right - self.left)

    def py(self, values: Sequence[float] | Array) -> Array:
        """(N,) -> (N,) pixels from the top"""
        share = (np.asarray(values, float) - self.y.low) / ((self.y.high - self.y.low) or 1)
        return self.bottom - share * (self.bottom - self.top)


def frame_of(panel: Panel) -> Frame:
    """Return the area between the axes: what titles, tick texts and axis labels leave."""
    widest = max((len(text) for _, text in panel.y.ticks), default=0)
    left = (6 + widest * CHARACTER if widest else 4) + 14 * bool(panel.y.label)
    top = 6 + 15 * bool(panel.title) + 14 * bool(panel.subtitle)
    bottom = panel.height - 3 - 14 * bool(panel.x.ticks) - 14 * bool(panel.x.label)
    return Frame(left, top, panel.width - panel.right, bottom, panel.x, panel.y)


def panel_svg(panel: Panel) -> Markup:
    """Draw a panel; its text is escaped."""
    frame = frame_of(panel)
    name = ", ".join(filter(None, (panel.title, panel.subtitle))) or panel.x.label
    parts = [
        f'<svg class="panel" viewBox="0 0 {panel.width} {panel.height}" width="{panel.width}" '
        f'height="{panel.height}" role="img" aria-label="{escape(name)}">',
        f"<title>{escape(panel.said)}</title>" if panel.said else "",
        _text(0, 12, panel.title, "title"),
        _text(0, 12 + 14 * bool(panel.title), panel.subtitle, "sub"),
        *_axes(panel, frame),
        *(_mark(mark, frame) for mark in panel.marks),
        "</svg>",
    ]
    return Markup("".join(parts))


def _axes(panel: Panel, f: Frame) -> list[str]:
    parts = []
    for value, text in panel.y.ticks:
        (y,) = f.py([value])
        parts.append(f'<path class="grid" d="M{_n(f.left)} {_n(y)}H{_n(f.right)}"/>')
        parts.append(_text(f.left - 4, y + 3, text, "tick end"))
    parts.append(f'<path class="axis" d="M{_n(f.left)} {_n(f.bottom)}H{_n(f.right)}"/>')
    for value, text in panel.x.ticks:
        (x,) = f.px([value])
        parts.append(_text(x, f.bottom + 12, text, "tick middle"))
    parts.append(_text((f.left + f.right) / 2, panel.height - 3, panel.x.label, "name middle"))
    if panel.y.label:
        middle = (f.top + f.bottom) / 2
        turned = f'transform="translate(9 {_n(middle)}) rotate(-90)"'
        parts.append(f'<text class="name middle" {turned}>{escape(panel.y.label)}</text>')
    return parts


def _mark(mark: Mark, f: Frame) -> str:
    match mark:
        case Line():
            dash = " dashed" * mark.dashed
            width = "" if mark.width == 1.5 else f' stroke-width="{mark.width:g}"'
            return f'<path class="line {mark.tone}{dash}"{width} d="{_through(f.px(mark.xs), f.py(mark.ys))}"/>'
        case Steps():
            kinds = "area " * mark.filled + "line " * mark.outlined
            return f'<path class="{kinds}{mark.tone}" d="{steps(f, mark.edges, mark.heights, mark.base)}"/>'
        case Bars():
            ends = zip(f.px(mark.left), f.px(mark.right), f.py(mark.low), f.py(mark.high), strict=True)
            path = "".join(f"M{_n(a)} {_n(low)}V{_n(high)}H{_n(b)}V{_n(low)}z" for a, b, low, high in ends)
            return f'<path class="bars {mark.tone}" d="{path}"/>'
        case Dots():
            return _dots(mark, f)
        case Label():
            (x,), (y,) = f.px([mark.x]), f.py([mark.y])
            return _text(x, y - mark.up, mark.text, f"label {mark.tone} {mark.anchor}")


def _dots(mark: Dots, f: Frame) -> str:
    """Draw points: one path for all, where none has a text."""
    kind = "ring" if mark.hollow else "dot"
    xs, ys = f.px(mark.xs), f.py(mark.ys)
    if not mark.titles:
        path = "".join(f"M{_n(x)} {_n(y)}h0" for x, y in zip(xs, ys, strict=True))
        return f'<path class="points {mark.tone}" stroke-width="{2 * mark.radius:g}" d="{path}"/>'
    return "".join(
        f'<circle class="{kind} {mark.tone}" cx="{_n(x)}" cy="{_n(y)}" r="{mark.radius:g}">'
        f"<title>{escape(title)}</title></circle>"
        for x, y, title in zip(xs, ys, mark.titles, strict=True)
    )


def steps(f: Frame, edges: Sequence[float] | Array, heights: Sequence[float] | Array, base: float = 0.0) -> str:
    """Return the path of a histogram, B + 1 edges and B heights, from its base back to it; equal neighbours are one."""
    xs, ys = f.px(edges), f.py(base + np.asarray(heights, float))
    bottom = last = _n(f.py([base])[0])
    path = f"M{_n(xs[0])} {bottom}"
    for i, y in enumerate(ys):
        if _n(y) != last:
            path += (f"H{_n(xs[i])}" if i else "") + f"V{_n(y)}"
            last = _n(y)
    return path + f"H{_n(xs[-1])}V{bottom}"


def _through(xs: Array, ys: Array) -> str:
    points = [f"{_n(x)} {_n(y)}" for x, y in zip(xs, ys, strict=True) if np.isfinite(x) and np.isfinite(y)]
    return f"M{'L'.join(points)}" if points else ""


def _text(x: float, y: float, text: str, classes: str) -> str:
    return f'<text class="{classes}" x="{_n(x)}" y="{_n(y)}">{escape(text)}</text>' if text else ""


def _n(value: float) -> str:
    """Format pixels with one decimal."""
    return f"{value:.1f}".removesuffix(".0")
