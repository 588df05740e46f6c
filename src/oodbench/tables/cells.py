"""Cells of tables: their text, and which of a column are marked as the best and as close to it."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeVar

import numpy as np

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import MISSING, Metric, Unit, arrays_key
from oodbench.evaluation.metrics import ID_METRICS, metric_of
from oodbench.evaluation.significance import Spread, indistinguishable_from_best, over_seeds
from oodbench.runs.reduced import Resampled
from oodbench.tables.fields import Key
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row
from oodbench.tables.results import Result

BEST, CLOSE = "**", "*"
AnyKey = TypeVar("AnyKey", bound=Hashable)


class Column(NamedTuple):
    """A metric on an OOD set; `ood` is "" and `kind` None for a metric that depends on none."""

    kind: Kind | None
    ood: str
    images: int
    metric: str

    @property
    def has_direction(self) -> bool:
        """Tell whether one end is better; telling shifted images of known classes from the test images is not."""
        return self.kind is not Kind.SHIFTED


class Cell(NamedTuple):
    """One row in one column: by seed the value, its interval over images and its (R,) resamples, if there are any."""

    values: dict[int, float]
    intervals: list[Interval]  # of the first seed that has one: with several, the interval is over seeds
    resampled: dict[int, Resampled]
    digests: set[tuple[str, ...]]  # of the test set and the OOD set

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))

    @property
    def compared(self) -> float:
        """The mean to 12 decimals, by which cells are ordered, so that equal means tie whatever their rounding."""
        return round(self.mean, 12)

    def spread(self, unit: Unit) -> Spread:
        return over_seeds(np.array(list(self.values.values())), unit.largest)

    def add(self, run: Result, key: Key, value: float, *, resampled: bool = True) -> None:
        """Take a run's number, and where it is resampled its interval and resamples."""
        self.values[run.seed] = value
        if resampled and not self.intervals and (interval := run.interval(key)):
            self.intervals.append(interval)
        if resampled and (name := arrays_key(*key)) in run.resampled:
            self.resampled[run.seed] = run.resampled[name]
        digests = [run.digests.get(name, "") for name in ("test", key[0]) if name]
        if all(digests):  # early runs do not say
            self.digests.add(tuple(digests))


CellKey = tuple[Row, str, Column]  # row, detector, column
Cells = dict[CellKey, Cell]


class Marks(NamedTuple):
    """The best means of a column, the cells that tests do not distinguish from the best, the seeds on which they were
    compared, or the reason why they were not.

    further: some cell has seeds beyond these, which its mean is over, too.
    """

    best: Collection[Hashable] = ()
    close: Collection[Hashable] = ()
    seeds: tuple[int, ...] = ()
    untested: str = ""
    further: bool = False

    def of(self, key: Hashable) -> str:
        """Return what stands before and behind a cell's text: BEST, CLOSE or ""."""
        return BEST if key in self.best else CLOSE if key in self.close else ""

    def of_any(self, keys: Iterable[Hashable]) -> str:
        """Return the mark of cells that share a line: the best of theirs."""
        marks = {self.of(key) for key in keys}
        return next((mark for mark in (BEST, CLOSE) if mark in marks), "")


def cell_key(row: Row, detector: str, column: Column) -> CellKey:
    """Return the key of a cell; a metric that depends on no OOD set depends on no detector."""
    return row, detector if column.ood else "", column


def id_columns() -> list[Column]:
    """Return a column for each metric of the test images that tables show."""
    return [Column(None, "", 0, name) for name, metric in ID_METRICS.items() if metric.in_tables]


def no_cell() -> Cell:
    return Cell({}, [], {}, set())


def cells_of(
    runs: Iterable[Result], row_of: Callable[[Result], Row], detectors: Collection[str], metrics: Collection[str]
) -> Cells:
    """Collect the numbers of these detectors and metrics, and those that depend on no detector."""
    cells: Cells = {}
    for run in runs:
        for key, value in run.numbers.items():
            ood, detector, metric = key
            if metric in metrics and (not detector or detector in detectors):
                column = Column(run.kind(ood) if ood else None, ood, run.ood_images.get(ood, 0), metric)
                cells.setdefault((row_of(run), detector, column), no_cell()).add(run, key, value)
    return cells


def best_of(cells: Cells, rows: Iterable[Row], detectors: Iterable[str], column: Column) -> Marks:
    """Mark the best cells of a column among those of these rows and detectors.

    Nothing is marked in a column without direction, or whose cells are all equal scores of one row, which share a line.
    """
    keys = dict.fromkeys(cell_key(row, detector, column) for row, detector in product(rows, detectors))
    found = {key: cells[key] for key in keys if key in cells}
    is_one_line = len({(row, cell.compared) for (row, *_), cell in found.items()}) == 1
    return Marks() if is_one_line or not column.has_direction else marks_of(found, metric_of(column.metric))


def marks_of(column: Mapping[AnyKey, Cell], metric: Metric) -> Marks:
    """Mark the best mean with all equal to it, and what is not distinguishable from the best on the seeds all share.

    The best on the shared seeds may be another than the best mean; it is among the close ones then. A cell alone is not
    compared.
    """
    if len(column) < 2:
        return Marks()
    larger = metric.higher_is_better
    best = (max if larger else min)(cell.compared for cell in column.values())
    ties = [key for key, cell in column.items() if cell.compared == best]
    seeds = common_seeds(column.values())
    if reason := untested(metric, column.values(), seeds):
        return Marks(ties, untested=reason)
    values = {key: np.array([cell.values[seed] for seed in seeds]) for key, cell in column.items()}
    stacked = {
        key: np.stack([metric.corrected(cell.values[seed], np.asarray(cell.resampled[seed])) for seed in seeds])
        for key, cell in column.items()
    }
    content = {key: values[key].tobytes() + stacked[key].tobytes() for key in column}
    distinct = {same: key for key, same in content.items()}.values()  # a loss's own score and MSP are often one test
    values, stacked = ({key: of[key] for key in distinct} for of in (values, stacked))
    found = {content[key] for key in indistinguishable_from_best(values, stacked, larger)}
    close = {key for key in column if content[key] in found and key not in ties}
    further = any(len(cell.values) > len(seeds) for cell in column.values())
    return Marks(ties, close, tuple(seeds), further=further)


def common_seeds(cells: Collection[Cell]) -> list[int]:
    """Return the seeds that all cells have."""
    return sorted(set[int].intersection(*(set(cell.values) for cell in cells))) if cells else []


def untested(metric: Metric, cells: Collection[Cell], seeds: Collection[int]) -> str:
    """Say why these cells are not compared on these seeds; "" where they are."""
    if metric.resampled is None:
        return "this metric has no form for resampled images"
    if not seeds:
        return "the rows share no seed"
    if any(seed not in cell.resampled for cell in cells for seed in seeds):
        return "resamples are missing"
    if len(set[tuple[str, ...]].union(*(cell.digests for cell in cells))) > 1:
        return "the rows' images differ"
    if len({len(cell.resampled[seed]) for cell in cells for seed in seeds}) > 1:
        return "the rows' numbers of resamples differ"
    return ""


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
    elif cell.intervals:
        text += " " + unit.ends(cell.intervals[0])
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
    return cell.spread(unit).interval or next(iter(cell.intervals), None)
