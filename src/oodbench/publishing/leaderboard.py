"""The leaderboard: runs of a registry as Markdown, one table per protocol, one row per loss and score."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.metrics import metric_of
from oodbench.report.card import bullets, escaped
from oodbench.tables.caveats import caveats
from oodbench.tables.cells import Cell, Cells, alike, cell_key, cells_of, text_of
from oodbench.tables.columns import Column, header, means_alone, ood_sets
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.marks import BEST_AND_CLOSE, Marks, best_of, marks_by_group, notes_on_marks, shared_seeds
from oodbench.tables.means import common_means, mean_notes, shifted_notes, with_means
from oodbench.tables.names import row_names, score_name, set_name
from oodbench.tables.notes import loss_settings
from oodbench.tables.render import markdown_table
from oodbench.tables.results import Result
from oodbench.tables.sections import by_protocol

INTRODUCTION = """# Leaderboard

Made by `make registry` from the runs below `runs/`, which others submitted, and this project's own below `../runs/`;
docs/adding.md says how to submit one.

- A table is of one protocol. Rows: by the mean of the AUROCs that they show, near and far alike and without shifted ID
  sets, those with fewer last. Neighbours may differ by nothing but chance: see the italics.
- Cells, in percent: mean ± sample deviation over n seeds; of one seed the value [95 % interval over images].
- Bold: the best of a column; italics: what a paired test (5 %, Holm's correction) does not distinguish from it.
- Score: two scores whose printed numbers are the same share a row.
- Numbers: recomputed from the outputs, this project's, or as submitted."""
SUBMITTED, OWN, RECOMPUTED = "as submitted", "this project's", "recomputed"  # where a run's numbers come from
ID, OOD = ("accuracy", "ece"), ("auroc", "fpr95_idpos")


def leaderboard(runs: Sequence[Result], origins: Mapping[Path, str], detectors: Sequence[str]) -> str:
    """Return the page; origins: {folder of a run: where its numbers come from}, of others SUBMITTED."""
    parts = [INTRODUCTION]
    for dataset in sorted({run.dataset for run in runs}):
        for some in by_protocol(run for run in runs if run.dataset == dataset):
            parts += [f"## {escaped(set_name(dataset))}: {escaped(protocol(some[0]))}"]
            parts += [_table(some, origins, detectors)]
    return "\n\n".join(parts) + "\n"


def _table(runs: Sequence[Result], origins: Mapping[Path, str], detectors: Sequence[str]) -> str:
    means, labels = common_means(runs), row_names(row_labels(runs))
    measured = with_means(runs, means)
    columns = [Column(None, "", 0, metric) for metric in ID]
    columns += [Column(*each, metric) for each in means_alone(ood_sets(measured)) for metric in OOD]
    cells = cells_of(measured, row_of, detectors, {*ID, *OOD})
    best = {column: best_of(cells, labels, detectors, column) for column in columns}
    seeds = Counter(map(row_of, runs))
    from_where = {
        row: Counter(origins.get(run.folder, SUBMITTED) for run in runs if row_of(run) == row) for row in seeds
    }
    lines = [
        [
            str(place),
            escaped(labels[line.row]),
            escaped(" = ".join(map(score_name, line.scores))),
            str(seeds[line.row]),
            *line.texts,
            _origins(from_where[line.row]),
        ]
        for place, line in enumerate(_lines(cells, seeds, detectors, best), 1)
    ]
    heads = header(columns, set_name)
    texts = [f"{escaped(of)}<br>{title}" if of else title for of, title in heads]
    table = markdown_table(["", "Loss", "Score", "n", *texts, "Numbers"], lines, 3)
    marks = marks_by_group(zip(heads, best.values(), strict=True))
    notes = [*mean_notes(runs, labels, means), *shifted_notes(runs), *notes_on_marks(marks), *shared_seeds(marks)]
    notes += [
        *caveats(runs, labels, detectors),
        *loss_settings(runs, labels),
        *sorted({run.note for run in runs} - {""}),
    ]
    notes = [note for note in notes if note != BEST_AND_CLOSE]  # INTRODUCTION has that one
    return "\n\n".join(filter(None, [table, bullets(escaped(note.replace("`", "")) for note in notes)]))


class Line(NamedTuple):
    """A line of a table; its scores are those whose printed numbers are the same."""

    row: Row
    scores: tuple[str, ...]
    texts: list[str]  # of its cells
    order: tuple[int, float]


def _lines(
    cells: Cells, seeds: Mapping[Row, int], detectors: Sequence[str], best: Mapping[Column, Marks]
) -> list[Line]:
    """Return the lines, the first of the leaderboard first."""
    lines: list[Line] = []
    for row, n in seeds.items():
        keys = {d: [cell_key(row, d, column) for column in best] for d in detectors}
        scored = [d for d in detectors if any(key in cells for key in keys[d] if key[2].ood)]
        units = [metric_of(column.metric).unit for column in best]
        texts = {
            d: [text_of(cells.get(key), n, unit) for key, unit in zip(keys[d], units, strict=True)] for d in scored
        }
        for scores in alike(texts):
            marks = [best[column].of_any(cell_key(row, d, column) for d in scores) for column in best]
            marked = [mark + text + mark for mark, text in zip(marks, texts[scores[0]], strict=True)]
            aurocs = [key for key in keys[scores[0]] if key[2].metric == "auroc" and key[2].has_direction]
            lines.append(Line(row, scores, marked, _order([cells.get(key) for key in aurocs])))
    return sorted(lines, key=lambda line: line.order)


def _origins(times: Mapping[str, int]) -> str:
    """{origin: number of seeds} -> the words of a row"""
    if len(times) == 1:
        return next(iter(times))
    return ", ".join(f"{n} {origin}" for origin, n in sorted(times.items()))


def _order(cells: Sequence[Cell | None]) -> tuple[int, float]:
    """Return a sort key: most sets first, then the largest mean."""
    means = [cell.mean for cell in cells if cell]
    return -len(means), -float(np.mean(means)) if means else 0.0
