"""Published rows and runs -> the table of both, of one protocol."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.tables.cells import Cell, alike, cells_of, interval_of, text_of
from oodbench.tables.columns import Column, group, ood_metrics
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.means import FAR, NEAR, SHORT, with_means
from oodbench.tables.published import UNSTATED, Number, Published, unit_of
from oodbench.tables.results import Result
from oodbench.tables.scores import hyperparameters, shown
from oodbench.tables.sections import Table
from oodbench.tables.settings import in_brackets

OURS = (
    "Rows marked [n] were published by others and not run here. Ours stand beneath them where loss and score are the "
    "same, the score with its hyperparameters; where a source does not state its score, with our own score and MSP, "
    "in one row where both agree. Mean ± sample standard deviation over n seeds, for n = 1 the value with its 95 % "
    "interval over the test images; then ours minus the published value. 'inside': the published value lies in our "
    "95 % interval, over seeds by the t-distribution; 'outside': it does not. Two or three seeds have wide intervals, "
    "so that 'inside' says little; the interval of one seed does not include the variation between trainings, so that "
    "'outside' says little. In percent where not stated otherwise, without bold."
)
SUMMARY = (
    "Rows marked [n] are published; beneath them ours, ours minus theirs, and, if not second-hand, whether theirs is "
    "inside our 95 % interval."
)
POPULATION = "population: the deviation with divisor n, for sources that say below that they give it."
OTHER_IMAGES = "Seeds that were measured on other images stand in a row of their own."
DAGGER = "† FPR@95, convention not stated: the source does not say if `fpr95_idpos` or `fpr95_oodpos`; not compared."
SECOND_HAND = "‡ second-hand: not read in the source itself, so that only the difference is given."


class Names(NamedTuple):
    """The names of our rows, and functions from the key of a score or an OOD set to its name."""

    rows: Mapping[Row, str]
    score: Callable[[str], str]
    ood: Callable[[str], str]


def published_table(
    runs: Sequence[Result], published: Iterable[Published], fpr: str, names: Names | None = None
) -> Table | None:
    """Return published rows of the protocol that the runs of a table follow, ours beneath; None if there are none.

    An FPR@95 stands under its own convention, or with a dagger if its source names none. names: by default as in the
    other tables.
    """
    names = names or Names(row_labels(runs), shown, str)
    rows = [row for row in published if row.dataset == runs[0].dataset]
    rows = [row for row in rows if row.protocol and any(follows(run, row.protocol.runs) for run in runs)]
    columns = _columns(rows, runs[0], fpr)
    rows = [row for row in rows if any(key in row.numbers for key in columns.values())]
    if not rows or not rows[0].protocol:
        return None
    sources = list(dict.fromkeys((row.source, row.about, row.verified) for row in rows))
    body, divided = [], False
    for row in rows:
        groups = _comparable(row, runs, names)
        divided |= len({group.label for group in groups}) < len(groups)
        number = sources.index((row.source, row.about, row.verified)) + 1
        body += [_theirs(row, number, columns), *(line for group in groups for line in _ours(row, group, columns))]
    titles = ["FPR@95† ↓" if column.metric == UNSTATED else metric_of(column.metric).title for column in columns]
    header = [(group(column, names.ood), title) for column, title in zip(columns, titles, strict=True)]
    words = [("", "Loss"), ("", "Score"), ("", "By")]
    notes = [OURS, *[POPULATION] * any(row.deviation == "population" for row in rows), rows[0].protocol.about]
    notes += [OTHER_IMAGES] * divided
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
    wanted = row.ours | row.protocol.runs  # a protocol may have other means and deviations of its images
    named = {key for key in run.settings if key.startswith(("backbone.", "loss.", "recipe."))}
    return follows(run, wanted) and named <= wanted.keys()


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


def _theirs(row: Published, number: int, columns: Mapping[Column, str]) -> list[str]:
    """Return the line of a published row; number: of its source."""
    units = {key: unit_of(column.metric) for column, key in columns.items()}
    texts = [row.numbers[key].text(unit) if key in row.numbers else "" for key, unit in units.items()]
    name = row.loss + f" ({row.note})" * bool(row.note) + "‡" * (not row.verified)
    return [name, row.score, f"[{number}]", "", *texts]


class Group(NamedTuple):
    """Seeds of one of our rows that were measured on the same images, and the names of the scores that they have."""

    label: str
    seeds: list[Result]
    scores: dict[str, str]  # {detector: name}


def _comparable(row: Published, runs: Sequence[Result], names: Names) -> list[Group]:
    """Return our rows with a published one's loss, and its score or those that it may be."""
    groups = []
    for ours, label in names.rows.items():
        same = [run for run in runs if row_of(run) == ours and is_of(run, row)]
        first = {detector: [run for run in same if detector in run.detectors][:1] for detector in row.detectors}
        scores = {
            d: names.score(d) + in_brackets(hyperparameters(run, d)) for d, found in first.items() for run in found
        }
        if scores:
            groups += [Group(label, seeds, scores) for seeds in _of_same_images(_of_sets(run, row) for run in same)]
    return groups


def _ours(row: Published, group: Group, columns: Mapping[Column, str]) -> list[list[str]]:
    """Return a line for each score of a group, one where numbers are the same; the first has what depends on none."""
    n, unsized = len(group.seeds), [run._replace(ood_images={}) for run in group.seeds]  # one column a set
    found = cells_of(unsized, row_of, group.scores, {*ID_METRICS, *OOD_METRICS})
    cells = {(detector, column.ood, column.metric): cell for (_, detector, column), cell in found.items()}

    def text(column: Column, detector: str) -> str:
        cell = cells.get((detector if column.ood else "", column.ood, column.metric))
        return _text(row, column, row.numbers.get(columns[column]), cell, n)

    scored = {detector for detector, *_ in cells}  # scores without numbers are not alike
    of_ood = [column for column in columns if column.ood]
    lines = alike({d: [text(c, d) for c in of_ood] if d in scored else [d] for d in group.scores})
    return [
        [group.label, " = ".join(group.scores[detector] for detector in scores), "ours", str(n)]
        + [text(column, scores[0]) if column.ood or scores is lines[0] else "" for column in columns]
        for scores in lines
    ]


def _of_sets(run: Result, row: Published) -> Result:
    """Return the run with those sets of a published row that have enough images and not too many, and with the means
    over them alone.
    """
    of = row.protocol
    assert of
    near = of.near.get(row.dataset, ())
    named = {key.rpartition(".")[0] for key in row.numbers}
    sets = {*named, *(near if "near" in named else ()), *(of.far if "far" in named else ())}
    bounds = {ood: of.bounds(row.dataset, ood) for ood in sets}
    images = {ood: n for ood, n in run.ood_images.items() if ood in sets and bounds[ood][0] <= n <= bounds[ood][1]}
    numbers = {key: value for key, value in run.numbers.items() if key[0] in {"", *images}}
    run = run._replace(ood_images=images, numbers=numbers)
    return with_means([run._replace(near=frozenset(near))], {NEAR: near, FAR: of.far})[0] if near else run


def _of_same_images(runs: Iterable[Result]) -> list[list[Result]]:
    """Group runs whose sets have the same images, as far as digests tell; early runs have none."""
    groups: list[list[Result]] = []
    for run in runs:
        fitting = (group for group in groups if all(_have_same_images(run, other) for other in group))
        if group := next(fitting, None):
            group.append(run)
        else:
            groups.append([run])
    return groups


def _have_same_images(a: Result, b: Result) -> bool:
    digests = [(a.digests.get(name), b.digests.get(name)) for name in ("test", *a.ood_images)]
    return a.ood_images == b.ood_images and all(first == second for first, second in digests if first and second)


def _text(row: Published, column: Column, theirs: Number | None, cell: Cell | None, n: int) -> str:
    """Format our cell, its population deviation if the source gives that, and the difference to the published one."""
    if theirs is None or column.metric == UNSTATED:
        return ""
    if cell is None:
        return MISSING
    unit = unit_of(column.metric)
    text = text_of(cell, n, unit)
    if row.deviation == "population" and theirs.deviation is not None and len(cell.values) > 1:
        text += f" (population {unit.text(float(np.std(list(cell.values.values()))))})"
    text += f"; {unit.factor * (cell.mean - theirs.value):+.{unit.decimals}f}"
    interval = interval_of(cell, unit) if row.verified else None
    return text + (", inside" if interval[0] <= theirs.value <= interval[1] else ", outside") if interval else text
