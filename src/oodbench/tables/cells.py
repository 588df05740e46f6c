"""Cells of tables: what the seeds of a row have in a column, and its text."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import MISSING, Unit, arrays_key
from oodbench.evaluation.significance import Spread, over_seeds
from oodbench.runs.reduced import Resampled
from oodbench.tables.columns import Column
from oodbench.tables.fields import Key
from oodbench.tables.labels import Row
from oodbench.tables.results import Result


class Cell(NamedTuple):
    """One row in one column: by seed the value, its interval over images and its (R,) resamples, if there are any."""

    values: dict[int, float]
    interval: Interval | None  # of the first seed that has one: with several, the interval is over seeds
    resampled: dict[int, Resampled]
    digests: frozenset[tuple[str, ...]]  # of the test set and the OOD set; early runs do not say
    test_images: frozenset[int] = frozenset()

    @classmethod
    def of(cls, numbers: Sequence[tuple[Result, float]], key: Key, *, resampled: bool = True) -> "Cell":
        """Return the cell of seeds and their numbers of this key, where it is resampled with interval and resamples."""
        runs = [run for run, _ in numbers]
        having, name, sets = runs if resampled else [], arrays_key(*key), [name for name in ("test", key[0]) if name]
        digests = {tuple(run.digests.get(name, "") for name in sets) for run in runs}
        return cls(
            {run.seed: value for run, value in numbers},
            next((interval for run in having if (interval := run.interval(key))), None),
            {run.seed: run.resampled[name] for run in having if name in run.resampled},
            frozenset(each for each in digests if all(each)),
            frozenset(run.test_images for run in runs),
        )

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))

    @property
    def compared(self) -> float:
        """The mean to 12 decimals, by which cells are ordered, so that equal means tie whatever their rounding."""
        return round(self.mean, 12)

    def spread(self, unit: Unit) -> Spread:
        return over_seeds(np.array(list(self.values.values())), unit.largest)


CellKey = tuple[Row, str, Column]  # row, detector, column
Cells = dict[CellKey, Cell]


def cell_key(row: Row, detector: str, column: Column) -> CellKey:
    """Return the key of a cell; a metric that depends on no OOD set depends on no detector."""
    return row, detector if column.ood else "", column


def cells_of(
    runs: Iterable[Result], row_of: Callable[[Result], Row], detectors: Collection[str], metrics: Collection[str]
) -> Cells:
    """Collect the numbers of these detectors and metrics, and those that depend on no detector."""
    found: dict[CellKey, list[tuple[Result, float]]] = {}
    for run in runs:
        for key, value in run.numbers.items():
            ood, detector, metric = key
            if metric in metrics and (not detector or detector in detectors):
                column = Column(run.kind(ood) if ood else None, ood, run.ood_images.get(ood, 0), metric)
                found.setdefault((row_of(run), detector, column), []).append((run, value))
    return {key: Cell.of(each, (key[2].ood, key[1], key[2].metric)) for key, each in found.items()}


def text_of(cell: Cell | None, n: int, unit: Unit, mark: str = "") -> str:
    """Format mean ± sample deviation, or of one seed the value [interval over images].

    n: the row's number of seeds; a cell with fewer says so. mark: see `Marks.of`.
    """
    if cell is None:
        return MISSING
    spread = cell.spread(unit)
    text = unit.text(spread.mean)
    if spread.deviation is not None:
        text += f" ± {unit.text(spread.deviation)}"
    elif cell.interval:
        text += " " + unit.ends(cell.interval)
    text += fewer(cell, n)
    return f"{mark}{text}{mark}"


def fewer(cell: Cell, n: int) -> str:
    """Return " (n=...)" for a cell that has fewer seeds than its row."""
    return f" (n={len(cell.values)})" * (len(cell.values) != n)


def alike(printed: Mapping[str, Sequence[Hashable]]) -> list[tuple[str, ...]]:
    """{score: its printed numbers} -> the scores in groups that share a line, since their numbers are the same"""
    found: dict[tuple[Hashable, ...], list[str]] = {}
    for score, texts in printed.items():
        found.setdefault(tuple(texts), []).append(score)
    return [tuple(group) for group in found.values()]


def interval_of(cell: Cell, unit: Unit) -> Interval | None:
    """Return the interval of the mean of several seeds, of one seed that over images, if it has one."""
    return cell.spread(unit).interval or cell.interval
