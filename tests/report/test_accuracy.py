"""Accuracy against OOD detection."""

from oodbench.report.figures.accuracy import Point, panel
from oodbench.report.plot import Dots, Label


def test_a_point_a_run() -> None:
    points = [Point("CE", 0, 0.9, 0.8), Point("CE", 1, 0.92, 0.84), Point("HALO", 0, 0.95, 0.9)]
    drawn = panel(points, "near", {"CE": ("c0", False), "HALO": ("c1", False)})
    dots = [mark for mark in drawn.marks if isinstance(mark, Dots)]
    assert [list(mark.xs) for mark in dots] == [[0.9, 0.92], [0.95]]
    assert dots[0].titles[1] == "CE, seed 1: accuracy 92.00, AUROC 84.00"
    assert [mark.text.strip() for mark in drawn.marks if isinstance(mark, Label)] == ["CE", "HALO"]
