"""An overview for the terminal: one row per loss, means over its seeds, each loss with its own OOD score."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import OOD_METRICS, metric_of
from oodbench.phrases import printable
from oodbench.runs.record import OWN_SCORE
from oodbench.tables.caveats import caveats
from oodbench.tables.cells import cell_key, cells_of, fewer
from oodbench.tables.columns import Column, id_columns, ood_sets
from oodbench.tables.labels import protocol, row_labels, row_of
from oodbench.tables.means import FAR, NEAR, common_means, with_means
from oodbench.tables.results import Result
from oodbench.tables.sections import by_protocol


def overview(runs: Iterable[Result]) -> str:
    """Return a table per data set and protocol, without FPR@95, whose two conventions would need long headings."""
    of_sets = groupby(sorted(runs, key=lambda run: run.dataset), key=lambda run: run.dataset)
    return "\n\n".join(_table(dataset, each) for dataset, some in of_sets for each in by_protocol(some))


def _table(dataset: str, runs: Sequence[Result]) -> str:
    labels, seeds = row_labels(runs), Counter(map(row_of, runs))
    ood_metrics = [m for m in OOD_METRICS.values() if m.in_tables and not m.convention]
    measured = with_means(runs, common_means(runs))
    columns = id_columns() + [Column(*each, metric.name) for each in ood_sets(measured) for metric in ood_metrics]
    cells = cells_of(measured, row_of, [OWN_SCORE], {column.metric for column in columns})
    lines = [
        ["", "", *map(_kind, columns)],
        ["", "", *("mean" if column.ood in (NEAR, FAR) else column.ood for column in columns)],
        ["loss", "n", *(metric_of(column.metric).title for column in columns)],
    ]
    for row, label in labels.items():
        found = [cells.get(cell_key(row, OWN_SCORE, column)) for column in columns]
        units = [metric_of(column.metric).unit for column in columns]
        texts = [
            unit.text(cell.mean) + fewer(cell, seeds[row]) if cell else MISSING
            for cell, unit in zip(found, units, strict=True)
        ]
        lines.append([label, str(seeds[row]), *texts])
    return "\n".join(
        map(
            printable,
            [f"{dataset}, {protocol(runs[0])}", "", *_aligned(lines), *caveats(runs, labels, [OWN_SCORE])],
        )
    )


def _kind(column: Column) -> str:
    return str(column.kind or "")


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Pad the cells of every column to one width, the first column's at the end."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines)
    return ["  ".join(cells).rstrip() for cells in padded]
