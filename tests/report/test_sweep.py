"""Swept hyperparameters are found by comparing configurations."""

from oodbench.report.figures.sweep import Measured, panel, sweeps_of
from oodbench.report.plot import Dots


def test_a_key_with_three_values_is_a_sweep() -> None:
    settings = {f"t{v}": {"loss.tau": v, "recipe.lr": "0.1"} for v in ("0.1", "1", "0.01")}
    (found,) = sweeps_of(settings, dict.fromkeys(settings, "logitnorm"))
    assert (found.loss, found.key) == ("logitnorm", "loss.tau")
    assert found.rows == [(0.01, "t0.01"), (0.1, "t0.1"), (1.0, "t1")]


def test_two_values_are_none() -> None:
    settings = {"a": {"loss.tau": "1"}, "b": {"loss.tau": "2"}}
    assert sweeps_of(settings, dict.fromkeys(settings, "x")) == []


def test_rows_that_differ_in_something_else_are_left_out() -> None:
    settings = {f"t{v}": {"loss.tau": v, "loss.m": "0"} for v in ("1", "2", "3")}
    settings |= {"other": {"loss.tau": "4", "loss.m": "1"}}
    (found,) = sweeps_of(settings, dict.fromkeys(settings, "x"))
    assert "other" not in [row for _, row in found.rows]


def test_losses_are_not_mixed() -> None:
    settings = {v: {"loss.tau": v} for v in ("1", "2", "3")}
    assert sweeps_of(settings, {"1": "a", "2": "b", "3": "b"}) == []


def test_texts_are_no_sweep() -> None:
    settings = {v: {"loss.variant": v} for v in ("a", "b", "c")}
    assert sweeps_of(settings, dict.fromkeys(settings, "x")) == []


def test_values_are_evenly_spaced() -> None:
    settings = {f"t{v}": {"loss.tau": v} for v in ("1", "10", "1000")}
    (found,) = sweeps_of(settings, dict.fromkeys(settings, "x"))
    measured = {row: Measured(0.5, (0.4, 0.6)) for row in settings}
    drawn = panel(found, measured, "")
    (dots,) = (mark for mark in drawn.marks if isinstance(mark, Dots))
    assert list(dots.xs) == [0, 1, 2]
    assert dots.titles[0] == "50.00 [40.0, 60.0]"
