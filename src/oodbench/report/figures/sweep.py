"""The effect of a hyperparameter that was swept: numbers against its values."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import SHARE
from oodbench.report.plot import Axis, Dots, Line, Mark, Panel, Plot, padded, percent_axis

FEWEST = 3  # values that make a sweep


class Sweep(NamedTuple):
    """Rows of one loss that differ in one key alone: (value, row), by rising value."""

    loss: str
    key: str
    rows: list[tuple[float, str]]


class Measured(NamedTuple):
    """A row's mean and its 95 % interval, shares."""

    mean: float
    interval: Interval | None


def sweeps_of(settings: Mapping[str, Mapping[str, str]], losses: Mapping[str, str]) -> list[Sweep]:
    """{row: {dotted key: printed value}}, {row: loss} -> the keys that take three values or more, all else equal.

    Of several groups that differ in a key alone, the largest is taken.
    """
    found = []
    for loss in sorted(set(losses.values())):
        rows = {row: values for row, values in settings.items() if losses[row] == loss}
        for key in sorted({key for values in rows.values() for key in values}):
            groups: dict[tuple[tuple[str, str], ...], list[tuple[float, str]]] = {}
            for row, values in rows.items():
                if (number := _number(values.get(key, ""))) is not None:
                    others = tuple(sorted((k, v) for k, v in values.items() if k != key))
                    groups.setdefault(others, []).append((number, row))
            largest = max(groups.values(), key=len, default=[])
            if len({value for value, _ in largest}) >= FEWEST:
                found.append(Sweep(loss, key, sorted(largest)))
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def panel(sweep: Sweep, measured: Mapping[str, Measured], title: str) -> Panel:
    """Draw means with intervals over the values, evenly spaced. measured: {row: number}, of rows that have it."""
    at = {value: i for i, value in enumerate(dict.fromkeys(value for value, _ in sweep.rows))}
    points = [(at[value], measured[row]) for value, row in sweep.rows if row in measured]
    ends = [end for _, m in points for end in (m.interval or (m.mean, m.mean))]
    low, high = padded([*ends, *(m.mean for _, m in points)], 0.1)
    marks: list[Mark] = [Line([x for x, _ in points], [m.mean for _, m in points], "c0")]
    marks += [Line([x, x], list(m.interval), "c0", width=1) for x, m in points if m.interval]
    said = [SHARE.text(m.mean) + (f" {SHARE.ends(m.interval)}" if m.interval else "") for _, m in points]
    marks.append(Dots([x for x, _ in points], [m.mean for _, m in points], "c0", 3.2, titles=said))
    x_axis = Axis(sweep.key.removeprefix("loss."), -0.4, len(at) - 0.6, [(i, f"{value:g}") for value, i in at.items()])
    return Panel(title, x_axis, percent_axis("%", low, high), marks, "", 240, 190)


def plot(name: str, title: str, panels: Sequence[Panel]) -> Plot:
    """Put the panels of one sweep side by side."""
    caption = (
        "Mean with its 95 % interval, of configurations that differ in this value alone. Values are evenly spaced."
    )
    return Plot(name, title, panels, caption)
