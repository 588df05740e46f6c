"""Rows of other people's tables: their file, and the table of them."""

import csv
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from oodbench.evaluation.metric import MISSING, SHARE
from oodbench.evaluation.metrics import ID_METRICS, metric_of
from oodbench.tables.cells import Column
from oodbench.tables.fields import errors_name
from oodbench.tables.sections import Table, group, ood_metrics

UNSTATED = "fpr95_unstated"  # of a source that does not name its convention


class Published(NamedTuple):
    """A row of somebody else's table. `numbers` is {"accuracy", "ece" or "<ood set>.<metric>": share}."""

    dataset: str
    loss: str
    backbone: str
    near: frozenset[str]
    source: str
    protocol: str
    note: str
    numbers: dict[str, float]


def load_published(path: Path) -> list[Published]:
    """Rows of a CSV: the fields of `Published` (near: names with spaces between); other columns are shares or empty."""
    with errors_name(path), path.open(encoding="utf-8", newline="") as file:
        return [
            Published(
                near=frozenset(row.pop("near").split()),
                **{field: row.pop(field) for field in ("dataset", "loss", "backbone", "source", "protocol", "note")},
                numbers={column: float(value) for column, value in row.items() if value},
            )
            for row in csv.DictReader(file)
        ]


def published_table(rows: Sequence[Published], fpr: str) -> Table:
    """Others' numbers, never bold; an FPR@95 under its own convention, or with a dagger if its source names none."""
    near = frozenset[str]().union(*(row.near for row in rows))
    names = {key.rpartition(".")[0] for row in rows for key in row.numbers} - {""}
    columns = [Column(False, "", 0, metric) for metric in ID_METRICS]
    for ood in sorted(names, key=lambda ood: (ood not in near, ood)):
        names_of = [*(metric.name for metric in ood_metrics(fpr)), UNSTATED]
        columns += [Column(ood in near, ood, 0, name) for name in names_of]
    keys = {column: f"{column.ood}.{column.metric}".lstrip(".") for column in columns}
    keys = {column: key for column, key in keys.items() if any(key in row.numbers for row in rows)}
    body = [
        [
            row.loss,
            row.backbone,
            *(_text(column, row.numbers[key]) if key in row.numbers else MISSING for column, key in keys.items()),
        ]
        for row in rows
    ]
    notes = ["Published by others, not run here and not compared in bold. In percent where not stated otherwise."]
    if any(column.metric == UNSTATED for column in keys):
        notes.append("† FPR@95, convention not stated: the source does not say if `fpr95_idpos` or `fpr95_oodpos`.")
    for about, members in groupby(rows, key=lambda row: (row.source, row.protocol, row.note)):
        notes.append(", ".join(f"`{row.loss}`" for row in members) + ": " + " ".join(text for text in about if text))
    header = [(group(c), "FPR@95† ↓" if c.metric == UNSTATED else metric_of(c.metric).title) for c in keys]
    return Table("Published rows", [("", "Loss"), ("", "Backbone"), *header], body, notes)


def _text(column: Column, value: float) -> str:
    return (SHARE if column.metric == UNSTATED else metric_of(column.metric).unit).text(value)
