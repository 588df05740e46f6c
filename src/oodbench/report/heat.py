"""Loss x detector: every number of OOD detection, by detector and loss; of one loss, by detector and OOD set."""

from typing import NamedTuple

from oodbench.evaluation.metric import MISSING, SHARE
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.report.gallery import near_and_far
from oodbench.report.material import Section
from oodbench.report.table import dashed
from oodbench.tables.cells import Cell, cells_of, interval_of
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, row_of
from oodbench.tables.names import score_name, set_name

CHANCE = 0.5  # AUROC at and below which a cell has no tint
METRICS = [name for name, metric in OOD_METRICS.items() if metric.in_tables and metric.unit == SHARE]  # has tints
ALL = "all"  # the choice of sets where sets are the columns


class Number(NamedTuple):
    """Mean over n seeds and its 95 % interval, shares; is_best: of its column's detectors, in the mean alone."""

    mean: float
    interval: tuple[float, float] | None
    n: int
    is_best: bool


Numbers = list[list[Number | None]]  # one row per detector


class Heat(NamedTuple):
    """Numbers by (choice of sets, metric). Columns are rows of the main table; of a section with one row, OOD sets."""

    columns: list[str]
    seeds: list[int]  # of each column's row
    detectors: list[str]  # keys, those with the highest mean AUROC in the first choice first
    choices: list[tuple[str, str]]  # (key, printed name) of OOD sets
    numbers: dict[tuple[str, str], Numbers]


def heat_of(section: Section) -> Heat:
    """Collect the numbers of all detectors of a section."""
    results = section.alike
    detectors = sorted({d for result in results for d in result.detectors})
    cells = cells_of(results, row_of, detectors, METRICS)
    found = {(column.ood, column.metric, row, d): cell for (row, d, column), cell in cells.items()}
    named = dict(near_and_far(section))
    sets = list((named | {ood: set_name(ood) for ood in section.sets if ood not in named}).items())
    if len(section.labels) == 1:
        columns, choices = [printed for _, printed in sets], [(ALL, "all sets")]
        seeds = [len(results)] * len(sets)
    else:
        columns, choices = list(section.labels.values()), sets
        seeds = [len(section.of_row(label)) for label in columns]

    def places(choice: str) -> list[tuple[str, Row]]:
        return [(ood, r) for ood in ([ood for ood, _ in sets] if choice == ALL else [choice]) for r in section.labels]

    def row(detector: str, choice: str, metric: str) -> list[Cell | None]:
        return [found.get((ood, metric, r, detector)) for ood, r in places(choice)]

    def ranked(choice: str) -> list[bool]:
        return [section.kinds.get(ood) is not Kind.SHIFTED for ood, _ in places(choice)]

    def mean(detector: str, choice: str) -> float:
        cells = zip(row(detector, choice, "auroc"), ranked(choice), strict=True)
        return _mean([cell for cell, is_ranked in cells if is_ranked])

    means = {d: mean(d, choices[0][0]) for d in detectors} if choices else {}
    order = sorted(means, key=lambda d: (-means[d], score_name(d)))
    numbers = {(c, m): _numbers([row(d, c, m) for d in order], m, ranked(c)) for c, _ in choices for m in METRICS}
    return Heat(columns, seeds, order, choices, numbers)


def _mean(cells: list[Cell | None]) -> float:
    """Mean over the columns that have a number; 0 where none has one"""
    values = [cell.mean for cell in cells if cell]
    return sum(values) / len(values) if values else 0.0


def _numbers(rows: list[list[Cell | None]], metric: str, ranked: list[bool]) -> Numbers:
    """Return the numbers of all rows; in a column that is not ranked none is the best."""
    record = OOD_METRICS[metric]
    pick = max if record.higher_is_better else min
    columns = [[cell.compared for cell in column if cell] for column in zip(*rows, strict=True)]
    best = [pick(of) if is_ranked and len(of) > 1 else None for of, is_ranked in zip(columns, ranked, strict=True)]

    def number(cell: Cell | None, of: float | None) -> Number | None:
        if cell is None:
            return None
        return Number(cell.mean, interval_of(cell, record.unit), len(cell.values), cell.compared == of)

    return [[number(cell, of) for cell, of in zip(row, best, strict=True)] for row in rows]


def tint(value: float, metric: str) -> float:
    """Return how strongly a cell is coloured, 0 at chance and below, 1 for a perfect detector."""
    goodness = value if OOD_METRICS[metric].higher_is_better else 1 - value
    return min(1.0, max(0.0, (goodness - CHANCE) / (1 - CHANCE)))


def printed(number: Number | None, metric: str, seeds: int) -> dict[str, object]:
    """Format a cell for the page, with its n where that is not the column's."""
    if number is None:
        return {"text": MISSING, "interval": "", "said": "", "shade": "0", "top": False}
    unit = OOD_METRICS[metric].unit
    return {
        "text": unit.text(number.mean) + f" (n={number.n})" * (number.n != seeds),
        "interval": dashed(number.interval, unit),
        "said": f"n = {number.n}",
        "shade": f"{tint(number.mean, metric):.3f}",
        "top": number.is_best,
    }


def packed(heat: Heat) -> dict[str, list[list[list[int | None] | None]]]:
    """Return all numbers for the page's script, as they are printed: [mean, low, high, n, is_best].

    Means in hundredths of a percent, ends of intervals in tenths.
    """

    def pack(number: Number | None) -> list[int | None] | None:
        if number is None:
            return None
        ends = [round(10 * float(f"{100 * end:.1f}")) for end in number.interval] if number.interval else [None, None]
        return [round(100 * float(f"{100 * number.mean:.2f}")), *ends, number.n, int(number.is_best)]

    return {
        f"{choice}|{metric}": [[pack(n) for n in row] for row in rows]
        for (choice, metric), rows in heat.numbers.items()
    }
