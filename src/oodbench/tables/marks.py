"""Marks of tables: the best of a column, what tests do not distinguish from it, and the notes that say so."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from itertools import groupby, product
from typing import NamedTuple, TypeVar

import numpy as np

from oodbench.evaluation.metric import Metric
from oodbench.evaluation.metrics import metric_of
from oodbench.evaluation.significance import indistinguishable_from_best
from oodbench.phrases import seeds_of
from oodbench.tables.cells import Cell, Cells, cell_key
from oodbench.tables.columns import Column
from oodbench.tables.labels import Row

BEST, CLOSE = "**", "*"


AnyKey = TypeVar("AnyKey", bound=Hashable)


class Marks(NamedTuple):
    """The best means of a column, the cells that tests do not distinguish from the best, the seeds on which they were
    compared, or the reason why they were not.

    further: some cell's mean includes seeds that were not compared.
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
    digests = {each for cell in cells for each in cell.digests}
    if len(digests) > 1 or len({n for cell in cells for n in cell.test_images}) > 1:
        return "the rows' images differ"
    if len({len(cell.resampled[seed]) for cell in cells for seed in seeds}) > 1:
        return "the rows' numbers of resamples differ"
    return ""


BEST_AND_CLOSE = (
    "Bold: the best mean of a column. Italics: every row that paired tests do not distinguish from the best at 5 % "
    "(Holm's correction over the rows, equal ones counted once). For n = 1 the networks are compared, not the losses; "
    "with few seeds few differences are significant, so that much is in italics. More in docs/metrics.md, Intervals "
    "and marks."
)


DIFFERENT_SEEDS = "Rows have different seeds: means are over all n, "


def marks_by_group(marks: Iterable[tuple[tuple[str, str], Marks]]) -> dict[str, Marks]:
    """((group, name) of a column, its mark) -> {group: mark} where all marks of a group say the same in a note,
    else {"group name": mark}
    """
    found: dict[str, Marks] = {}
    for group, members in groupby(sorted(marks, key=lambda mark: mark[0][0]), key=lambda mark: mark[0][0]):
        columns = list(members)
        said = {mark[2:] for _, mark in columns if mark.best}
        for (_, name), mark in columns:
            key = f"{group} {name}".strip() if not group or len(said) > 1 else group
            if key not in found or mark.best:
                found[key] = mark
    return found


def notes_on_marks(marks: Mapping[str, Marks]) -> list[str]:
    """Say what bold and italics mean in columns of these names, and where it means less."""
    compared = {name: mark for name, mark in marks.items() if mark.best}
    if not compared:
        return []
    reasons = sorted({mark.untested for mark in compared.values() if mark.untested})
    notes = [BEST_AND_CLOSE] * any(not mark.untested for mark in compared.values())
    for reason in reasons:
        names = [name for name, mark in compared.items() if mark.untested == reason]
        where = "" if len(names) == len(compared) else f" in {', '.join(names)}"
        notes.append(f"Bold{where}: the best mean, not tested against the others, because {reason}.")
    return notes


def shared_seeds(marks: Mapping[str, Marks]) -> list[str]:
    """Say where some row has more seeds than those it was compared on."""
    found: dict[tuple[int, ...], list[str]] = {}
    for name, mark in marks.items():
        if mark.further:
            found.setdefault(mark.seeds, []).append(name)
    return [
        f"{DIFFERENT_SEEDS}the tests compare with the best on those that all rows share, "
        f"{seeds_of(shared)}; in {', '.join(names)}."
        + " With one seed they are of single networks, whatever n is."
        * (len(shared) == 1)
        for shared, names in found.items()
    ]
