"""Runs -> losses x detectors: of every OOD set a table with losses as columns, and one of its intervals."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.tables.caveats import caveats
from oodbench.tables.cells import CellKey, Cells, cells_of, fewer, interval_of
from oodbench.tables.columns import Column, named, ood_metrics, ood_sets
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.marks import Marks, best_of, marks_by_group, notes_on_marks, shared_seeds
from oodbench.tables.means import common_means, mean_notes, shifted_notes, with_means
from oodbench.tables.notes import definitions, trained, without_metric, without_resamples
from oodbench.tables.results import Result
from oodbench.tables.scores import all_hyperparameters, shown
from oodbench.tables.sections import Table

SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
INTERVALS = (
    "95 % intervals, in percent; n = 1: bootstrap over the test images, of this one network; n > 1: of the mean over "
    "training seeds, a t-interval on the logit scale."
)
OVER_SEEDS = "An interval of n > 1 is of these test images: it does not include the variation between images."


def matrix_tables(runs: Sequence[Result], fpr: str, detectors: Sequence[str]) -> list[Table]:
    """Return the tables of runs of one protocol. Marks are within a column, each metric for itself."""
    metrics, means, labels = ood_metrics(fpr), common_means(runs), row_labels(runs)
    measured = with_means(runs, means)
    cells = cells_of(measured, row_of, detectors, {metric.name for metric in metrics})
    matrix = _Matrix(labels, Counter(row_of(run) for run in runs), detectors, cells, _Dashes(runs))
    header = [("", "Score"), *((label, f"n = {matrix.seeds[row]}") for row, label in labels.items())]
    heading = " / ".join(metric.title for metric in metrics)
    summary = (
        f"{heading} in percent, mean over n training seeds. Bold and italics are within a column, for each of "
        "them: the best scores for a loss."
    )
    tables: list[Table] = []
    for kind, ood, images in ood_sets(measured):
        columns = [Column(kind, ood, images, metric.name) for metric in metrics]
        best = {(row, column): best_of(cells, [row], detectors, column) for row in labels for column in columns}
        values = matrix.rows(columns, partial(_value, cells, best))
        intervals = matrix.rows(columns, partial(_ends, cells))
        title = f"{heading}, {named(kind, ood, f', {images:,} images')}; {protocol(runs[0])}"
        footnotes = matrix.dashes.notes(values)
        notes = [
            f"{summary} {trained(runs)}",
            definitions(metrics),
            *_notes_on_marks(labels, best),
            *without_resamples(runs, labels),
            *mean_notes(runs, labels, {mean: sets for mean, sets in means.items() if mean == ood}),
            *(shifted_notes(runs) if kind is Kind.SHIFTED else []),
            *(all_hyperparameters(runs, detectors) if not tables else []),
            *caveats(runs, labels, detectors),
            *footnotes,
            *without_metric(runs, labels, metrics),
            *[f"{MISSING} without a mark: not scored in these runs."] * any(MISSING in row for row in values),
            *sorted({run.note for run in runs} - {""}),
        ]
        tables.append(Table(title, header, values, notes, 1, summary))
        if any("[" in cell for row in intervals for cell in row[1:]):
            over_seeds = [OVER_SEEDS] * (max(matrix.seeds.values()) > 1)
            about = [INTERVALS, *over_seeds, *footnotes]
            tables.append(Table(f"Intervals of {title}", header, intervals, about, 1, INTERVALS))
    return tables


def _notes_on_marks(labels: Mapping[Row, str], best: Mapping[tuple[Row, Column], Marks]) -> list[str]:
    columns = list(dict.fromkeys(column for _, column in best))
    names = {column: OOD_METRICS[column.metric].heading for column in columns}
    marks = marks_by_group([((labels[row], names[column]), mark) for (row, column), mark in best.items()])
    return [*notes_on_marks(marks), *shared_seeds(marks)]


class _Matrix(NamedTuple):
    labels: Mapping[Row, str]
    seeds: Mapping[Row, int]
    detectors: Sequence[str]
    cells: Cells
    dashes: "_Dashes"

    def rows(self, columns: Sequence[Column], text: Callable[[CellKey], str]) -> list[list[str]]:
        """Return one row per detector, in each cell the metrics of one loss."""
        return [
            [shown(detector), *(self._cell([(row, detector, c) for c in columns], text) for row in self.labels)]
            for detector in self.detectors
        ]

    def _cell(self, keys: Sequence[CellKey], text: Callable[[CellKey], str]) -> str:
        """Format "90.00 / 10.00", with n where it is not the column's; a dash for what is missing."""
        row, detector, _ = keys[0]
        present = [key for key in keys if key in self.cells]
        texts = {key: text(key) for key in present}
        if not any(texts.values()):
            return self.dashes.text(row, detector)
        less = next(filter(None, (fewer(self.cells[key], self.seeds[row]) for key in present)), "")
        return " / ".join(texts.get(key) or MISSING for key in keys) + less


class _Dashes:
    """Reasons why a detector has no numbers, as numbered footnotes."""

    def __init__(self, runs: Sequence[Result]) -> None:
        self.why = {(row_of(run), d): reason for run in runs for d, reason in run.not_applicable.items()}
        self.marks = {
            reason: str(i + 1).translate(SUPERSCRIPT) for i, reason in enumerate(sorted(set(self.why.values())))
        }

    def text(self, row: Row, detector: str) -> str:
        return MISSING + self.marks.get(self.why.get((row, detector), ""), "")

    def notes(self, rows: Sequence[Sequence[str]]) -> list[str]:
        """Return those whose marks stand in these rows."""
        used = {cell for row in rows for cell in row}
        return [f"{mark} {reason}." for reason, mark in self.marks.items() if MISSING + mark in used]


def _value(cells: Cells, best: Mapping[tuple[Row, Column], Marks], key: CellKey) -> str:
    row, _, column = key
    mark = best[row, column].of(key)
    return f"{mark}{OOD_METRICS[column.metric].unit.text(cells[key].mean)}{mark}"


def _ends(cells: Cells, key: CellKey) -> str:
    unit = OOD_METRICS[key[2].metric].unit
    interval = interval_of(cells[key], unit)
    return unit.ends(interval) if interval else ""
