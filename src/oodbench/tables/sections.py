"""Runs -> tables: a row per configuration and detector, what its seeds say in a cell."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from oodbench.tables.cells import Bold, Column, bold, cells_of, text_of
from oodbench.tables.labels import protocol, row_labels, row_of
from oodbench.tables.notes import caption
from oodbench.tables.results import Result

HEADER = {  # of a metric; the arrow points to better
    "accuracy": "Accuracy ↑",
    "ece": "ECE ↓",
    "auroc": "AUROC ↑",
    "fpr95_idpos": "FPR@95 idpos ↓",
    "fpr95_oodpos": "FPR@95 oodpos ↓",
    "fpr95_unstated": "FPR@95† ↓",
}


class Table(NamedTuple):
    """Cells and notes are text with two marks, **bold** and `code`. A column is (the group it stands under, name)."""

    title: str
    columns: list[tuple[str, str]]
    rows: list[list[str]]
    notes: list[str]
    words: int = 2  # this many columns hold words, the others numbers


def section(runs: Sequence[Result], fpr: str, detectors: Sequence[str], by: Sequence[str] = ()) -> Table:
    """The table of runs of one protocol; `by`: keys of their configurations that get a column and sort the rows."""
    labels = row_labels(runs, by)
    seeds = Counter(row_of(run, by) for run in runs)
    sets = ood_sets(runs)
    metrics = ["accuracy", "ece"]
    columns = [Column(False, "", 0, metric) for metric in metrics]
    columns += [Column(near, ood, n, metric) for near, ood, n in sets for metric in ("auroc", f"fpr95_{fpr}")]
    cells = cells_of(runs, lambda run: row_of(run, by), detectors, {column.metric for column in columns})

    best: dict[Column, Bold] = {}
    for column in columns:
        keys = [(row, detector if column.ood else "", column) for row in labels for detector in detectors]
        best[column] = bold({key: cells[key] for key in dict.fromkeys(keys) if key in cells}, column.metric)

    def text(row: tuple[str, ...], detector: str, column: Column) -> str:
        if not column.ood and detector != detectors[0]:
            return ""  # stands on the first row of the loss, whatever the detector
        key = row, detector if column.ood else "", column
        return text_of(cells.get(key), seeds[row], key in best[column].keys)

    rows = [
        [*row[:-1], label, detector, str(seeds[row]), *(text(row, detector, column) for column in columns)]
        for row, label in labels.items()
        for detector in detectors
    ]
    twice = {ood for ood, times in Counter(ood for _, ood, _ in sets).items() if times > 1}
    header = [(group(c) + f", {c.images:,} images" * (c.ood in twice), HEADER[c.metric]) for c in columns]
    words = [("", f"`{key}`") for key in by] + [("", "Loss"), ("", "Score")]
    notes = caption(runs, labels, fpr, detectors, {group(c) or HEADER[c.metric]: best[c] for c in columns}, by)
    return Table(protocol(runs[0], by), [*words, ("", "n"), *header], rows, notes, len(words))


def ood_sets(runs: Iterable[Result]) -> list[tuple[bool, str, int]]:
    """-> (near, name, images), near first"""
    sets = {(ood in run.near, ood, n) for run in runs for ood, n in run.ood_images.items()}
    return sorted(sets, key=lambda each: (not each[0], *each[1:]))


def by_protocol(runs: Iterable[Result], by: Sequence[str] = ()) -> list[list[Result]]:
    """One data set's runs in groups that may stand in one table, the largest training first."""
    runs = sorted(runs, key=lambda run: (-run.train_images, -(run.epochs or 0), protocol(run, by)))
    groups: dict[str, list[Result]] = {}
    for run in runs:
        groups.setdefault(protocol(run, by), []).append(run)
    return list(groups.values())


def group(column: Column) -> str:
    return f"{column.ood} ({'near' if column.near else 'far'})" if column.ood else ""
