"""Published rows and runs -> the table of both, of one protocol."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from oodbench.evaluation.metric import MISSING, SHARE, Unit
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.tables.cells import Cell, Column, cells_of, interval_of, text_of
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.means import FAR, NEAR, SHORT, with_means
from oodbench.tables.notes import shown
from oodbench.tables.published import UNSTATED, Number, Protocol, Published
from oodbench.tables.results import Result
from oodbench.tables.sections import Table, group, ood_metrics

OURS = (
    "Rows marked [n] were published by others and not run here. Ours stand beneath them where loss and score are the "
    "same: mean ± sample standard deviation over n seeds, for n = 1 the value with its 95 % interval over the test "
    "images; ours minus the published value; and inside where that value lies in our 95 % interval, over seeds by the "
    "t-distribution, else outside. Two or three seeds have wide intervals, in which inside says little. In percent "
    "where not stated otherwise, without bold."
)
SUMMARY = (
    "Rows marked [n] are published; beneath them ours, ours minus theirs, and whether theirs is inside our 95 % "
    "interval."
)
POPULATION = "population: the deviation with divisor n, which is what the source gives."
DAGGER = "† FPR@95, convention not stated: the source does not say if `fpr95_idpos` or `fpr95_oodpos`; not compared."
SECOND_HAND = "‡ second-hand: not read in the source itself."


def published_table(runs: Sequence[Result], published: Iterable[Published], fpr: str) -> Table | None:
    """Return published rows of the protocol that the runs of a table follow, ours beneath; None if there are none.

    An FPR@95 stands under its own convention, or with a dagger if its source names none.
    """
    rows = [row for row in published if row.dataset == runs[0].dataset]
    rows = [row for row in rows if row.protocol and any(follows(run, row.protocol.runs) for run in runs)]
    columns = _columns(rows, runs[0], fpr)
    rows = [row for row in rows if any(key in row.numbers for key in columns.values())]
    if not rows or not rows[0].protocol:
        return None
    sources = list(dict.fromkeys((row.source, row.about, row.verified) for row in rows))
    labels = row_labels(runs)
    body = []
    for row in rows:
        number = sources.index((row.source, row.about, row.verified)) + 1
        texts = [row.numbers[key].text(_unit(column)) if key in row.numbers else "" for column, key in columns.items()]
        name = row.loss + f" ({row.note})" * bool(row.note) + "‡" * (not row.verified)
        body.append([name, row.score, f"[{number}]", "", *texts])
        for label, n, cells in _beside(row, runs, labels):
            texts = [_text(row, column, row.numbers.get(key), cells, n) for column, key in columns.items()]
            body.append([label, shown(row.detector or ""), "ours", str(n), *texts])
    header = [(group(c), "FPR@95† ↓" if c.metric == UNSTATED else metric_of(c.metric).title) for c in columns]
    words = [("", "Loss"), ("", "Score"), ("", "By")]
    notes = [OURS, *[POPULATION] * (rows[0].protocol.deviation == "population"), rows[0].protocol.about]
    notes += [DAGGER] * any(column.metric == UNSTATED for column in columns)
    notes += [SECOND_HAND] * (not all(row.verified for row in rows))
    notes += [f"[{i}] {source}. {about}" for i, (source, about, _) in enumerate(sources, 1)]
    title = f"Published rows of protocol {rows[0].protocol.name} beside {protocol(runs[0])}"
    return Table(title, [*words, ("", "n"), *header], body, notes, len(words), SUMMARY)


def follows(run: Result, wanted: Mapping[str, str]) -> bool:
    """Tell whether a run has these values."""
    facts = run.settings | {"test_images": str(run.test_images), "train_images": str(run.train_images)}
    return all(facts.get(key) == value for key, value in wanted.items())


def is_of(run: Result, row: Published) -> bool:
    """Tell whether a run follows a row's protocol with its loss, and has no setting that neither of them names."""
    if row.ours is None or not row.protocol:
        return False
    wanted = row.protocol.runs | row.ours
    parts = {"backbone": run.backbone_settings, "loss": run.loss_settings, "recipe": run.recipe_settings}
    return follows(run, wanted) and {f"{part}.{key}" for part, of in parts.items() for key in of} <= wanted.keys()


def _columns(rows: Sequence[Published], run: Result, fpr: str) -> dict[Column, str]:
    """-> {column: its key in `numbers`}, of the keys that a row has"""
    near = frozenset[str]().union(run.near, *(row.protocol.near.get(row.dataset, ()) for row in rows if row.protocol))
    names = {key.rpartition(".")[0] for row in rows for key in row.numbers} - {""}
    columns = {Column(None, "", 0, metric): metric for metric in ID_METRICS}
    for ood in sorted(names, key=lambda ood: (ood not in {*near, "near"}, ood not in SHORT, ood)):
        for metric in [*(metric.name for metric in ood_metrics(fpr)), UNSTATED]:
            kind = Kind.NEAR if ood in {*near, "near"} else Kind.FAR
            columns[Column(kind, SHORT.get(ood, ood), 0, metric)] = f"{ood}.{metric}"
    return {column: key for column, key in columns.items() if any(key in row.numbers for row in rows)}


def _beside(
    row: Published, runs: Sequence[Result], labels: Mapping[Row, str]
) -> list[tuple[str, int, dict[tuple[str, str], Cell]]]:
    """-> label, number of seeds and {(OOD set, metric): cell} of our rows with the loss and score of a published one

    Seeds that were measured on other images make a row of their own.
    """
    if row.detector is None or not row.protocol:
        return []
    members: dict[tuple[str, frozenset[Any]], list[Result]] = {}
    for run in runs:
        if is_of(run, row) and row.detector in run.detectors:
            of_sets = _of_sets(run, row.protocol, row.dataset)
            members.setdefault((labels[row_of(run)], _images(of_sets)), []).append(of_sets)
    found = []
    for (label, _), seeds in sorted(members.items(), key=lambda item: (item[0][0], item[1][0].seed)):
        unsized = [run._replace(ood_images={}) for run in seeds]  # a set is one column, whatever its name has beside it
        cells = cells_of(unsized, row_of, [row.detector], {*ID_METRICS, *OOD_METRICS})
        found.append((label, len(seeds), {(key[2].ood, key[2].metric): cell for key, cell in cells.items()}))
    return found


def _of_sets(run: Result, of: Protocol, dataset: str) -> Result:
    """Return the run with the sets that it has whole, and with the means over the published sets alone."""
    near = of.near.get(dataset, ())
    whole = {ood: n for ood, n in run.ood_images.items() if n == of.images.get(ood, n)}
    numbers = {key: value for key, value in run.numbers.items() if key[0] in {"", *whole}}
    if near:
        whole = {ood: n for ood, n in whole.items() if ood in (*near, *of.far)}
    run = run._replace(ood_images=whole, numbers=numbers)
    return with_means([run._replace(near=frozenset(near))], {NEAR: near, FAR: of.far})[0] if near else run


def _images(run: Result) -> frozenset[Any]:
    """-> what tells the images of a run's sets from those of another's"""
    digests = {(name, run.digests.get(name, "")) for name in ("test", *run.ood_images)}
    return frozenset({*digests, *run.ood_images.items()})


def _text(row: Published, column: Column, theirs: Number | None, cells: Mapping[tuple[str, str], Cell], n: int) -> str:
    """Format our cell, its population deviation if the source gives that, and the difference to the published one."""
    if theirs is None or column.metric == UNSTATED:
        return ""
    cell, unit = cells.get((column.ood, column.metric)), _unit(column)
    if cell is None:
        return MISSING
    text = text_of(cell, n, False, unit)
    if row.protocol and row.protocol.deviation == "population" and len(cell.values) > 1:
        text += f" (population {unit.text(float(np.std(list(cell.values.values()))))})"
    text += f"; {unit.factor * (cell.mean - theirs.value):+.{unit.decimals}f}"
    interval = interval_of(cell, unit)
    return text + (", inside" if interval[0] <= theirs.value <= interval[1] else ", outside") if interval else text


def _unit(column: Column) -> Unit:
    return SHARE if column.metric == UNSTATED else metric_of(column.metric).unit
