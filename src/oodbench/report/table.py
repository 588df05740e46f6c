"""The main table of a section: rows of losses and scores, columns of metrics, what is best."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import MISSING, Metric, Unit
from oodbench.evaluation.metrics import OOD_METRICS, metric_of
from oodbench.report.material import Section
from oodbench.tables.cells import CellKey, Cells, alike, cell_key, cells_of, fewer, interval_of
from oodbench.tables.columns import Column, id_columns
from oodbench.tables.labels import Row, row_of
from oodbench.tables.marks import Marks, best_of, marks_by_group
from oodbench.tables.means import FAR, NEAR
from oodbench.tables.names import score_name, set_name

EN_DASH = "\u2013"
GROUPS = {NEAR: "Near OOD, mean", FAR: "Far OOD, mean"}


class Shown(NamedTuple):
    """A cell as it is printed; `value` sorts, None where there is no number."""

    text: str
    interval: str = ""
    mark: str = ""  # see `Marks.of`
    value: float | None = None
    said: str = ""  # for a pointer: n, deviation


class Head(NamedTuple):
    """A column. convention: "idpos" or "oodpos" where the page shows one of the two."""

    text: str
    group: str  # OOD set, NEAR, FAR or ""
    convention: str
    higher_is_better: bool
    said: str


class Line(NamedTuple):
    """A row of the table."""

    label: str
    loss: str  # key
    scores: tuple[str, ...]  # keys of the detectors, several where all their printed numbers are the same
    score: str  # printed
    n: str
    cells: list[Shown]


class Main(NamedTuple):
    """The table. groups: (key, printed name, number of columns); marks: {name of a column: what is marked in it}."""

    groups: list[tuple[str, str, int]]
    heads: list[Head]
    rows: list[Line]
    marks: dict[str, Marks]


def main_table(section: Section, detectors: Sequence[str]) -> Main:
    """Lay out a section's numbers, as `oodbench.tables` computes and marks them."""
    columns = columns_of(section)
    ensembles = section.ensembles.found
    cells = cells_of([*section.results, *ensembles.values()], row_of, detectors, {column.metric for column in columns})
    seeds = Counter(map(row_of, section.results))
    scored = {key[:2] for key in cells}
    best = {column: best_of(cells, section.labels, detectors, column) for column in columns}

    def lines(row: Row, label: str, loss: str, n: int) -> list[Line]:
        shown = {
            detector: [_shown(cells, cell_key(row, detector, column), n) for column in columns]
            for detector in [d for d in detectors if (row, d) in scored] or detectors[:1]
        }
        groups = alike({detector: [(cell.text, cell.interval) for cell in of] for detector, of in shown.items()})
        found = []
        for scores in groups:
            marks = [best[column].of_any(cell_key(row, d, column) for d in scores) for column in columns]
            marked = [cell._replace(mark=mark) for cell, mark in zip(shown[scores[0]], marks, strict=True)]
            found.append(Line(label, loss, scores, " = ".join(map(score_name, scores)), str(n), marked))
        return found

    rows = []
    for row, label in section.labels.items():
        rows += lines(row, label, row.loss, seeds[row])
        if one := ensembles.get(row):
            rows += lines(row_of(one), f"{label}, ensemble of {seeds[row]}", row.loss, 1)
    heads = [head(column) for column in columns]
    marks = marks_by_group([((group_name(c.ood), h.text), best[c]) for c, h in zip(columns, heads, strict=True)])
    return Main(groups_of(columns), heads, rows, marks)


def columns_of(section: Section) -> list[Column]:
    """Return accuracy and ECE, then by OOD set, means first, the metrics of the tables with both FPR@95.

    `other_sizes` names the rows whose sets have other sizes than the section's.
    """
    sizes = section.sizes
    order = sorted(sizes, key=lambda each: (each[0] not in GROUPS, each[1].rank, each[0]))
    names = [name for name, metric in OOD_METRICS.items() if metric.in_tables]
    return id_columns() + [Column(kind, ood, sizes[ood, kind], name) for ood, kind in order for name in names]


def other_sizes(section: Section) -> list[str]:
    """Say where a row has no number, or fewer seeds, since its set has another number of images than the column's."""
    shown = {column.ood: column.images for column in columns_of(section)}
    rows: dict[str, dict[str, None]] = {}
    for run in section.runs:
        for ood, n in run.result.ood_images.items():
            if n != shown[ood]:
                rows.setdefault(ood, {})[f"`{run.label}` ({n:,})"] = None
    return [
        f"Not shown under {group_name(ood)}, {shown[ood]:,} images: numbers on another number of images: "
        f"{', '.join(labels)}."
        for ood, labels in rows.items()
    ]


def head(column: Column) -> Head:
    """Describe a column; the convention of FPR@95 stands in the switch above the table, and in words beneath."""
    metric = metric_of(column.metric)
    said = f"{metric.heading}: {metric.definition}"
    return Head(heading(metric), column.ood, metric.convention, metric.higher_is_better, said)


def heading(metric: Metric) -> str:
    return metric.heading.partition(" (")[0] if metric.convention else metric.heading


def headings(metrics: Iterable[Metric]) -> list[str]:
    """Return the headings of those metrics that the table shows, once for both FPR@95."""
    return list(dict.fromkeys(heading(metric) for metric in metrics if metric.in_tables))


def group_name(ood: str) -> str:
    return GROUPS.get(ood) or (set_name(ood) if ood else "")


def groups_of(columns: Sequence[Column]) -> list[tuple[str, str, int]]:
    """Return the groups of neighbouring columns; a reader sees one FPR@95 of two."""
    counts = Counter(column.ood for column in columns)
    return [(ood, group_name(ood), n) for ood, n in counts.items()]


def dashed(interval: Interval | None, unit: Unit) -> str:
    """Format an interval with a dash between its ends; "" for None."""
    return unit.ends(interval)[1:-1].replace(", ", EN_DASH) if interval else ""


def _shown(cells: Cells, key: CellKey, n: int) -> Shown:
    """Format a cell as the tables do: mean, 95 % interval, and for a pointer n and the deviation"""
    cell = cells.get(key)
    if cell is None:
        return Shown(MISSING)
    unit = metric_of(key[2].metric).unit
    spread, interval = cell.spread(unit), interval_of(cell, unit)
    said = f"n = {spread.n}" + (f", ± {unit.text(spread.deviation)} over seeds" if spread.deviation is not None else "")
    text = unit.text(spread.mean) + fewer(cell, n)
    return Shown(text, dashed(interval, unit), value=spread.mean, said=said)
