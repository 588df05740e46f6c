"""Loss x detector: every number of OOD detection, by loss and detector."""

from typing import NamedTuple

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.report.gallery import targets
from oodbench.report.material import Section
from oodbench.report.names import score_name, set_name
from oodbench.tables.cells import Cell, cells_of, interval_of
from oodbench.tables.labels import row_of

CHANCE = 0.5  # AUROC at and below which a cell has no tint
METRICS = [name for name, metric in OOD_METRICS.items() if metric.in_tables]


class Number(NamedTuple):
    """Mean over n seeds and its 95 % interval, shares; is_best: of a loss's detectors, in the mean alone."""

    mean: float
    interval: tuple[float, float] | None
    n: int
    is_best: bool


class Heat(NamedTuple):
    """Numbers by (OOD set, metric): {(set, metric): a row a detector, a number a loss, None where there is none}."""

    losses: list[str]  # labels of rows of the main table
    detectors: list[str]  # keys, those with the highest mean AUROC on the first set first
    sets: list[tuple[str, str]]
    numbers: dict[tuple[str, str], list[list[Number | None]]]


def heat_of(section: Section) -> Heat:
    """Collect the numbers of all detectors of a section."""
    results = [run.result for run in section.runs]
    detectors = sorted({d for run in results for d in run.detectors})
    cells = cells_of(results, row_of, detectors, METRICS)
    found = {(column.ood, column.metric, row, d): cell for (row, d, column), cell in cells.items()}
    sets = list(dict.fromkeys([*targets(section), *((ood, set_name(ood)) for ood in section.sets)]))
    means = {d: _mean([found.get((sets[0][0], "auroc", row, d)) for row in section.labels]) for d in detectors} if sets else {}
    order = sorted(means, key=lambda d: (-means[d], score_name(d)))
    numbers = {
        (ood, metric): _numbers([[found.get((ood, metric, row, d)) for row in section.labels] for d in order], metric)
        for ood, _ in sets
        for metric in METRICS
    }
    return Heat(list(section.labels.values()), order, sets, numbers)


def _mean(cells: list[Cell | None]) -> float:
    """Mean over the losses that have a number; 0 where none has one"""
    values = [cell.mean for cell in cells if cell]
    return sum(values) / len(values) if values else 0.0


def _numbers(rows: list[list[Cell | None]], metric: str) -> list[list[Number | None]]:
    record = OOD_METRICS[metric]
    best = []
    for column in zip(*rows, strict=True):
        values = [cell.mean for cell in column if cell]
        best.append((max if record.higher_is_better else min)(values) if len(values) > 1 else None)
    return [
        [
            Number(cell.mean, interval_of(cell, record.unit), len(cell.values), best[j] is not None and abs(cell.mean - (best[j] or 0)) < 1e-12)
            if cell
            else None
            for j, cell in enumerate(row)
        ]
        for row in rows
    ]


def tint(value: float, metric: str) -> float:
    """Return how strongly a cell is coloured, 0 at chance and below, 1 for a perfect detector."""
    goodness = value if OOD_METRICS[metric].higher_is_better else 1 - value
    return min(1.0, max(0.0, (goodness - CHANCE) / (1 - CHANCE)))


def printed(number: Number | None, metric: str) -> dict[str, object]:
    """Print a cell for the page."""
    if number is None:
        return {"text": MISSING, "said": "", "shade": "0", "top": False}
    unit = OOD_METRICS[metric].unit
    said = f"n = {number.n}" + (f", {unit.ends(number.interval)}" if number.interval else "")
    return {"text": unit.text(number.mean), "said": said, "shade": f"{tint(number.mean, metric):.3f}", "top": number.is_best}


def packed(heat: Heat) -> dict[str, list[list[list[int | None] | None]]]:
    """Return all numbers for the page's script, in hundredths of a percent: [mean, low, high, n, is_best]."""

    def pack(number: Number | None) -> list[int | None] | None:
        if number is None:
            return None
        ends = [round(10_000 * end) for end in number.interval] if number.interval else [None, None]
        return [round(10_000 * number.mean), *ends, number.n, int(number.is_best)]

    return {f"{ood}|{metric}": [[pack(n) for n in row] for row in rows] for (ood, metric), rows in heat.numbers.items()}
