"""Runs -> tables: a row per configuration and detector, what its seeds say in a cell."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from oodbench.evaluation.metrics import metric_of
from oodbench.tables.cells import Cells, alike, cell_key, cells_of, text_of
from oodbench.tables.columns import Column, header, id_columns, ood_metrics, ood_sets
from oodbench.tables.ensembles import NO_ENSEMBLES, Ensembles, ensemble_notes
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.marks import Marks, best_of, marks_by_group
from oodbench.tables.means import common_means, mean_notes, shifted_notes, with_means
from oodbench.tables.notes import table_notes
from oodbench.tables.results import Result
from oodbench.tables.scores import shown


class Table(NamedTuple):
    """Cells and notes are text with **bold**, *italics* and `code`. A column is (the group it stands under, name)."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[list[str]]
    notes: list[str]
    words: int = 2  # this many columns hold words, the others numbers
    summary: str = ""  # the notes in a sentence, for a caption


SUMMARY = (
    "In percent; mean ± standard deviation over n seeds, for n = 1 the value and its 95 % interval over the test "
    "images; bold: the best of a column; italics: what paired tests do not distinguish from it."
)


def section(
    runs: Sequence[Result],
    fpr: str,
    detectors: Sequence[str],
    by: Sequence[str] = (),
    ensembles: Ensembles = NO_ENSEMBLES,
) -> Table:
    """Return the table of runs of one protocol.

    by: keys of configurations that get a column and sort the rows. ensembles: of rows without `by`.
    """
    labels = row_labels(runs, by)
    seeds = Counter(row_of(run, by) for run in runs)
    means = common_means(runs)
    measured = with_means([*runs, *ensembles.found.values()], means)
    columns = _columns(measured, fpr)
    cells = cells_of(measured, lambda run: row_of(run, by), detectors, {column.metric for column in columns})
    best = {column: best_of(cells, labels, detectors, column) for column in columns}

    layout = _Layout(columns, cells, best)
    rows = []
    for row, label in labels.items():
        rows += layout.lines(row, label, seeds[row], detectors)
        if one := ensembles.found.get(row):
            scores = [detector for detector in detectors if detector in one.detectors]
            rows += layout.lines(row_of(one), f"{label}, ensemble of {seeds[row]}", 1, scores or [""])
    words = [("", f"`{key}`") for key in by] + [("", "Loss"), ("", "Score")]
    marks = marks_by_group(zip(header(columns), best.values(), strict=True))
    metrics = [metric_of(name) for name in dict.fromkeys(column.metric for column in columns)]
    notes = table_notes(runs, labels, metrics, detectors, marks, by)
    notes += [*mean_notes(runs, labels, means, by), *shifted_notes(runs), *ensemble_notes(ensembles, labels)]
    return Table(protocol(runs[0], by), [*words, ("", "n"), *header(columns)], rows, notes, len(words), SUMMARY)


class _Layout(NamedTuple):
    columns: Sequence[Column]
    cells: Cells
    best: Mapping[Column, Marks]

    def lines(self, row: Row, label: str, n: int, detectors: Sequence[str]) -> list[list[str]]:
        """Return one line per score; what does not depend on the score stands in the first."""
        groups = alike({score: self._printed(row, n, score) for score in detectors})
        return [
            [*row.by, label, " = ".join(map(shown, scores)), str(n)]
            + [self._text(row, n, scores, c) if c.ood or scores is groups[0] else "" for c in self.columns]
            for scores in groups
        ]

    def _printed(self, row: Row, n: int, score: str) -> list[str]:
        found = [(column, self.cells.get(cell_key(row, score, column))) for column in self.columns if column.ood]
        texts = [text_of(cell, n, metric_of(column.metric).unit) for column, cell in found]
        return texts if any(cell for _, cell in found) else [score]  # scores without numbers are not alike

    def _text(self, row: Row, n: int, scores: Sequence[str], column: Column) -> str:
        keys = [cell_key(row, score, column) for score in scores]
        return text_of(self.cells.get(keys[0]), n, metric_of(column.metric).unit, self.best[column].of_any(keys))


def _columns(runs: Iterable[Result], fpr: str) -> list[Column]:
    """Return the metrics of the test images, then those of each OOD set."""
    return id_columns() + [Column(*each, metric.name) for each in ood_sets(runs) for metric in ood_metrics(fpr)]


def by_protocol(runs: Iterable[Result], by: Sequence[str] = ()) -> list[list[Result]]:
    """Return one data set's runs in groups that may share a table.

    The table of most rows comes first; of equally many, that of the largest training.
    """
    runs = sorted(runs, key=lambda run: (-run.train_images, -(run.epochs or 0), protocol(run, by)))
    groups: dict[str, list[Result]] = {}
    for run in runs:
        groups.setdefault(protocol(run, by), []).append(run)
    return sorted(groups.values(), key=lambda group: -len({row_of(run, by) for run in group}))
