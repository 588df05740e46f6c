"""The leaderboard: runs of a registry as Markdown, one table per protocol, one row per loss and score."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from oodbench.evaluation.metrics import metric_of
from oodbench.report.card import bullets, escaped
from oodbench.tables.cells import Cell, Column, bold, cells_of, text_of
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import protocol, row_labels, row_of
from oodbench.tables.means import FAR, NEAR, common_means, with_means
from oodbench.tables.names import row_name, score_name, set_name
from oodbench.tables.notes import BOLD, bold_notes, marks_by_group, shared_seeds
from oodbench.tables.render import markdown_table
from oodbench.tables.results import Result
from oodbench.tables.sections import by_protocol, group, named, ood_sets

INTRODUCTION = """# Leaderboard

Made by `python scripts/registry.py` from the runs below `runs/`; docs/adding.md says how to hand in one.

- A table is of one protocol. Rows: by the mean of their AUROCs, those with fewer OOD sets last.
- Cells, in percent: mean ± sample deviation over n seeds; of one seed the value [95 % interval over images].
- Bold: the best of a column, and what a paired test (5 %, Holm's correction) does not distinguish from it.
- Numbers: recomputed by this project from the outputs, or as handed in."""
ID, OOD = ("accuracy", "ece"), ("auroc", "fpr95_idpos")


def leaderboard(runs: Sequence[Result], recomputed: Collection[Path], detectors: Sequence[str]) -> str:
    """Return the page; recomputed: the folders of runs whose numbers were computed again."""
    parts = [INTRODUCTION]
    for dataset in sorted({run.dataset for run in runs}):
        for some in by_protocol(run for run in runs if run.dataset == dataset):
            parts += [f"## {escaped(set_name(dataset))}: {escaped(protocol(some[0]))}"]
            parts += [_table(some, recomputed, detectors)]
    return "\n\n".join(parts) + "\n"


def _table(runs: Sequence[Result], recomputed: Collection[Path], detectors: Sequence[str]) -> str:
    measured = with_means(runs, common_means(runs))
    columns = [Column(None, "", 0, metric) for metric in ID]
    columns += [Column(*each, metric) for each in _sets(measured) for metric in OOD]
    cells = cells_of(measured, row_of, detectors, {*ID, *OOD})
    best = {
        column: bold({key: cell for key, cell in cells.items() if key[2] == column}, metric_of(column.metric))
        for column in columns
    }
    found = []
    for row, label in row_labels(runs).items():
        of_row = [run for run in runs if row_of(run) == row]
        for score in detectors:
            keys = [(row, score if column.ood else "", column) for column in columns]
            if not any(key in cells for key in keys if key[1]):
                continue
            texts = [
                text_of(cells.get(key), len(of_row), key in best[key[2]].keys, metric_of(key[2].metric).unit)
                for key in keys
            ]
            words = [escaped(row_name(row.loss, label)), escaped(score_name(score))]
            again = sum(run.folder in recomputed for run in of_row)
            origin = (
                "recomputed"
                if again == len(of_row)
                else f"{again} of {len(of_row)} recomputed"
                if again
                else "as handed in"
            )
            line = [*words, str(len(of_row)), *texts, origin]
            found.append((_order([cells.get(key) for key in keys if key[2].metric == "auroc"]), line))
    lines = [[str(i), *line] for i, (_, line) in enumerate(sorted(found, key=lambda each: each[0]), 1)]
    heads = [_set(column) + metric_of(column.metric).title for column in columns]
    table = markdown_table(["", "Loss", "Score", "n", *heads, "Numbers"], lines, 3)
    marks = marks_by_group([((group(c), metric_of(c.metric).title), best[c]) for c in columns])
    notes = [note for note in [*bold_notes(marks), *shared_seeds(marks)] if note != BOLD]  # INTRODUCTION has that one
    return "\n\n".join(filter(None, [table, bullets(map(escaped, notes))]))


def _sets(runs: Sequence[Result]) -> list[tuple[Kind, str, int]]:
    """-> the means over near and far sets, or the sets of a kind that has no mean"""
    sets = ood_sets(runs)
    with_mean = {kind for kind, ood, _ in sets if ood in (NEAR, FAR)}
    return [each for each in sets if each[1] in (NEAR, FAR) or each[0] not in with_mean]


def _order(cells: Sequence[Cell | None]) -> tuple[int, float]:
    """-> a sort key: most sets first, then the largest mean"""
    means = [cell.mean for cell in cells if cell]
    return -len(means), -float(np.mean(means)) if means else 0.0


def _set(column: Column) -> str:
    """-> the set and a line's end, "" for a metric that depends on none"""
    if not column.kind:
        return ""
    ood = column.ood if column.ood in (NEAR, FAR) else set_name(column.ood)
    return escaped(named(column.kind, ood)) + "<br>"
