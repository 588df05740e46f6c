"""What stands in a cell, and which cells of a column are bold."""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from oodbench.evaluation.bootstrap import Interval
from oodbench.evaluation.metrics import Array
from oodbench.evaluation.significance import indistinguishable_from_best, over_seeds
from oodbench.tables.labels import Row
from oodbench.tables.results import Result, resamples

MISSING = "—"
LARGER_IS_BETTER = {  # every metric stands here: none is taken for the wrong direction because it is new
    **dict.fromkeys(("accuracy", "auroc", "aupr_in", "aupr_out"), True),
    **dict.fromkeys(("ece", "adaptive_ece", "classwise_ece", "mce", "nll", "brier"), False),
    **dict.fromkeys(("fpr95_idpos", "fpr95_oodpos"), False),
}
Key = TypeVar("Key", bound=Hashable)


class Column(NamedTuple):
    """Where a column's numbers are in the long format; `ood` is "" for what does not depend on an OOD set."""

    near: bool
    ood: str
    images: int
    metric: str


class Cell(NamedTuple):
    """One row in one column: by seed the value, its interval over images and its (R,) resamples, if there are any."""

    values: dict[int, float]
    intervals: dict[int, Interval]
    resampled: dict[int, Array]
    digests: set[tuple[str, ...]]  # of the test set and the OOD set

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.values.values())))


Cells = dict[tuple[Row, str, Column], Cell]  # by row, detector and column


class Bold(NamedTuple):
    """Of a column: its best cells, the seeds on which they were compared, and why they were not, if they were not."""

    keys: Collection[Hashable]
    seeds: tuple[int, ...] = ()
    untested: str = ""


def cells_of(
    runs: Iterable[Result], row_of: Callable[[Result], Row], detectors: Collection[str], metrics: Collection[str]
) -> Cells:
    """The numbers of these detectors and metrics, and those that depend on no detector."""
    cells: Cells = {}
    for run in runs:
        resampled = resamples(run.folder)
        for key, value in run.numbers.items():
            ood, detector, metric = key
            if metric not in metrics or (detector and detector not in detectors):
                continue
            column = Column(ood in run.near, ood, run.ood_images.get(ood, 0), metric)
            cell = cells.setdefault((row_of(run), detector, column), Cell({}, {}, {}, set()))
            cell.values[run.seed] = value
            if key in run.intervals:
                cell.intervals[run.seed] = run.intervals[key]
            if (name := "/".join(filter(None, key))) in resampled:
                cell.resampled[run.seed] = resampled[name]
            digests = [run.digests.get(name, "") for name in ("test", ood) if name]
            if all(digests):  # early runs do not say
                cell.digests.add(tuple(digests))
    return cells


def bold(column: Mapping[Key, Cell], metric: str) -> Bold:
    """The best mean, all equal to it, and all that are not distinguishable from the best on the seeds all share.

    The best on the shared seeds may be another than the best mean; both are in. A cell alone is not compared.
    """
    if len(column) < 2:
        return Bold([])
    larger = LARGER_IS_BETTER[metric]
    best = (max if larger else min)(cell.mean for cell in column.values())
    ties = [key for key, cell in column.items() if abs(cell.mean - best) < 1e-12]  # thrice .05 has not the mean .05
    seeds = sorted(set[int].intersection(*(set(cell.values) for cell in column.values())))
    if not seeds:
        return Bold(ties, untested="the rows share no seed")
    if any(seed not in cell.resampled for cell in column.values() for seed in seeds):
        return Bold(ties, untested="resamples are missing")
    if len(set[tuple[str, ...]].union(*(cell.digests for cell in column.values()))) > 1:
        return Bold(ties, untested="the rows' images differ")
    values = {key: np.array([cell.values[seed] for seed in seeds]) for key, cell in column.items()}
    resampled = {key: [cell.resampled[seed] for seed in seeds] for key, cell in column.items()}
    if len({len(each) for rows in resampled.values() for each in rows}) > 1:
        return Bold(ties, untested="the rows' numbers of resamples differ")
    stacked = {key: np.stack(rows) for key, rows in resampled.items()}
    found = indistinguishable_from_best(values, stacked, larger, normal_tail=True)
    return Bold({*ties, *found}, tuple(seeds))


def text_of(cell: Cell | None, n: int, is_bold: bool, percent: bool = True) -> str:
    """Mean ± sample deviation, or of one seed the value [interval over images]. `n` is the row's number of seeds, and a
    cell with fewer says so.
    """
    if cell is None:
        return MISSING
    mean, deviation, seeds, _ = over_seeds(np.array(list(cell.values.values())))
    text = _number(mean, percent, 2)
    if deviation is not None:
        text += f" ± {_number(deviation, percent, 2)}"
    elif cell.intervals:
        text += " " + interval_text(next(iter(cell.intervals.values())), percent)
    text += f" (n={seeds})" * (seeds != n)
    return f"**{text}**" if is_bold else text


def interval_text(interval: Interval, percent: bool = True) -> str:
    return f"[{_number(interval[0], percent, 1)}, {_number(interval[1], percent, 1)}]"


def interval_of(cell: Cell) -> Interval | None:
    """Of several seeds the t-interval of their mean, of one that over images, if it has one."""
    return over_seeds(np.array(list(cell.values.values()))).interval or next(iter(cell.intervals.values()), None)


def _number(value: float, percent: bool, decimals: int) -> str:
    """What is no share has three decimals"""
    return f"{100 * value:.{decimals}f}" if percent else f"{value:.3f}"
