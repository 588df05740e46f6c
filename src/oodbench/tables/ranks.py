"""Two protocols -> how far they put the losses in the same order."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.ranks import permutation_p_value, spearman
from oodbench.tables.caveats import other_images
from oodbench.tables.cells import Cell, cells_of
from oodbench.tables.columns import Column, header, id_columns, ood_metrics, ood_sets
from oodbench.tables.labels import Row, protocol, row_of
from oodbench.tables.means import shared_means, with_means
from oodbench.tables.results import Result
from oodbench.tables.scores import shown
from oodbench.tables.sections import Table, by_protocol

LEAST = 4  # losses; three have six orders, and one of them agrees by chance
NOTE = (
    "Spearman's rank correlation of the losses' means under two protocols: 1 where both put them in the same order, -1 "
    "where in the opposite one. p: the share of all orders of the losses whose correlation is at least as far from 0; "
    "about one number in twenty has p below 0.05 by chance."
)
SUMMARY = "Rank correlation of the losses' means under two protocols, and its p."
Loss = tuple[str, tuple[tuple[str, str], ...]]  # its name and settings
Pair = tuple[Cell, Cell]  # of one loss under two protocols


def rank_tables(runs: Iterable[Result], fpr: str, detectors: Sequence[str]) -> list[Table]:
    """Return a table for each two protocols of one data set that share LEAST losses or more."""
    tables = [_table(a, b, fpr, detectors) for a, b in combinations(by_protocol(runs), 2)]
    return [table for table in tables if table]


def _table(a: Sequence[Result], b: Sequence[Result], fpr: str, detectors: Sequence[str]) -> Table | None:
    shared = sorted(_rows(a).keys() & _rows(b).keys())
    if len(shared) < LEAST:
        return None
    both = [run for run in (*a, *b) if _loss(run) in shared]
    both = with_means(both, shared_means(both))
    sides = [[run for run in both if protocol(run) == protocol(side[0])] for side in (a, b)]
    sets = [each for each in ood_sets(sides[0]) if each in ood_sets(sides[1])]
    columns = id_columns() + [Column(*each, metric.name) for each in sets for metric in ood_metrics(fpr)]
    cells = [cells_of(side, row_of, detectors, {column.metric for column in columns}) for side in sides]
    rows = [_rows(side) for side in sides]

    def pairs(column: Column, detector: str) -> list[Pair]:
        keys = [[(rows[i][loss], detector, column) for loss in shared] for i in (0, 1)]
        found = [(cells[0].get(x), cells[1].get(y)) for x, y in zip(*keys, strict=True)]
        return [(x, y) for x, y in found if x and y]

    lines = []
    for column, (of, title) in zip(columns, header(columns), strict=True):
        scores = detectors if column.ood else [""]
        texts = [text for score in scores for text in _correlation(pairs(column, score), len(shared))]
        texts += [""] * (2 * (len(detectors) - len(scores)))
        lines.append([of or "test images", title, *texts])
    heads = [(shown(detector), name) for detector in detectors for name in ("correlation", "p")]
    names = ", ".join(dict.fromkeys(f"`{name}`" for name, _ in shared))
    title = f"Order of {len(shared)} losses: {protocol(a[0])}; against {protocol(b[0])}"
    notes = [NOTE, f"Losses: {names}. Metrics that depend on no score stand under the first.", *other_images(both)]
    return Table(title, [("", "Set"), ("", "Number"), *heads], lines, notes, summary=SUMMARY)


def _loss(run: Result) -> Loss:
    return run.loss, tuple(sorted(run.loss_settings.items()))


def _rows(runs: Iterable[Result]) -> Mapping[Loss, Row]:
    """-> {loss: its row}, without those that have several rows, of other recipes, where no one is the loss's"""
    found: dict[Loss, set[Row]] = {}
    for run in runs:
        found.setdefault(_loss(run), set()).add(row_of(run))
    return {loss: next(iter(rows)) for loss, rows in found.items() if len(rows) == 1}


def _correlation(pairs: Sequence[Pair], losses: int) -> tuple[str, str]:
    """Return the cells of a correlation and its p-value; of fewer losses than the table's it says of how many."""
    if len(pairs) < LEAST:
        return MISSING, MISSING
    a, b = (np.array([cell.compared for cell in side]) for side in zip(*pairs, strict=True))
    found = float(spearman(a, b))
    if np.isnan(found):
        return MISSING, MISSING
    text = f"{found:.2f}" + f" ({len(pairs)} losses)" * (len(pairs) < losses)
    p = permutation_p_value(a, b)
    return text, f"{p:.3f}" if p >= 0.0005 else "<0.001"
