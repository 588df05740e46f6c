"""Panels as SVG: well formed, escaped, and at the right places."""

from xml.etree import ElementTree

import numpy as np

from oodbench.report.plot import Axis, Bars, Dots, Label, Line, Panel, Steps
from oodbench.report.svg import frame_of, panel_svg, steps

HOSTILE = "<script>alert(1)</script>&\"'"
MARKS = [
    Line([0, 1], [0, 1], "c0", dashed=True, width=1),
    Steps([0, 0.5, 1], [0.2, 0.8], "id", filled=True),
    Bars([0.1], [0.2], [0.0], [0.5], "gap"),
    Dots([0.5], [0.5], "near", titles=[HOSTILE]),
    Dots([0.5, 0.6], [0.5, 0.6], "far"),
    Label(0.5, 0.5, HOSTILE, "ink", "middle"),
]


def drawn() -> Panel:
    axis = Axis(HOSTILE, 0, 1, [(0.5, HOSTILE)])
    return Panel(HOSTILE, axis, axis, MARKS, HOSTILE)


def test_text_is_escaped() -> None:
    svg = str(panel_svg(drawn()))
    assert "<script" not in svg
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == f"{HOSTILE}, {HOSTILE}"
    assert [each.text for each in root.iter("title")] == [HOSTILE]


def test_values_stand_at_their_pixels() -> None:
    frame = frame_of(drawn())
    assert frame.px([0, 1]).tolist() == [frame.left, frame.right]
    assert frame.py([0, 1]).tolist() == [frame.bottom, frame.top]


def test_steps_return_to_the_axis() -> None:
    frame = frame_of(drawn())._replace(left=0, right=100, top=0, bottom=50)
    assert steps(frame, [0, 0.5, 1], [0.2, 0.8]) == "M0 50V40H50V10H100V50"
    assert steps(frame, [0, 0.5, 1], [0.2, 0.2]) == "M0 50V40H100V50"
    assert steps(frame, [0, 0.5, 1], [0.0, 0.2]) == "M0 50H50V40H100V50"


def test_what_is_not_finite_is_left_out() -> None:
    axis = Axis("", 0, 1)
    svg = str(panel_svg(Panel("", axis, axis, [Line([0, 0.5, 1], [0, np.nan, 1], "c0")])))
    assert "nan" not in svg


def test_every_mark_is_drawn_at_its_values() -> None:
    """The plane from (0, 0) to (2, 10) has 100 x 50 pixels, its corner at (4, 6); y grows upwards."""
    marks = [
        Line([0, 2], [0, 5], "c0"),
        Bars([0.5], [1.0], [2.0], [4.0], "gap"),
        Dots([0.5], [8], "near", titles=["t"]),
        Dots([0.5], [8], "far"),
        Label(1, 10, "l", "ink", "middle", 3),
    ]
    panel = Panel("", Axis("", 0, 2), Axis("", 0, 10), marks, "", 104, 59, right=0)
    svg = str(panel_svg(panel))
    assert 'd="M4 56L104 31"' in svg
    assert 'd="M29 46V36H54V46z"' in svg
    assert 'cx="29" cy="16"' in svg
    assert 'd="M29 16h0"' in svg
    assert 'x="54" y="3">l<' in svg
