"""Runs -> tables: which may stand in one, mean and deviation over seeds, labels, captions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from oodbench.tables.load import Published, Result, long_format

FPR = {
    "idpos": "the share of OOD images accepted when 95 % of the ID images are accepted",
    "oodpos": "the share of ID images flagged when 95 % of the OOD images are caught",
}
SCORES = {"native": "the loss's own", "msp": "minus the largest class probability"}
HEADER = {  # of a metric; the arrow points to better
    "accuracy": "Accuracy ↑",
    "ece": "ECE ↓",
    "auroc": "AUROC ↑",
    "fpr95_idpos": "FPR@95 idpos ↓",
    "fpr95_oodpos": "FPR@95 oodpos ↓",
    "fpr95_unstated": "FPR@95† ↓",
}
MISSING = "—"


class Table(NamedTuple):
    """Cells and notes are text with two marks, **bold** and `code`. A column is (the group it stands under, name)."""

    title: str
    columns: list[tuple[str, str]]  # the first two hold words, the others numbers
    rows: list[list[str]]
    notes: list[str]


class Column(NamedTuple):
    """Where a column's numbers are in the long format; `ood` is "" for what does not depend on an OOD set."""

    near: bool
    ood: str
    images: int
    metric: str


def protocol(run: Result) -> str:
    """What all rows of a table share, and its title: backbone, recipe, epochs, images, precision."""
    train = f"{run.train_images:,} training images" + " (subset)" * bool(run.train_limit)
    test = f"{run.test_images:,} test images" + " (subset)" * bool(run.test_limit)
    epochs = f"{run.epochs} epoch" + "s" * (run.epochs != 1) if run.epochs else "epochs unknown"
    backbone = run.backbone + _in_brackets(run.backbone_settings)
    return f"{backbone}, recipe {run.recipe}, {epochs}, {train}, {test}, {run.precision}"


def row_labels(runs: Iterable[Result]) -> dict[str, str]:
    """{config hash: label}, sorted by label: the loss's name, and what sets it apart from others of that name."""
    labels: dict[str, str] = {}
    for loss, group in groupby(sorted(runs, key=lambda run: run.loss), key=lambda run: run.loss):
        settings = {run.hash: run.loss_settings | _prefixed("recipe.", run.recipe_settings) for run in group}
        keys = differing(settings.values())
        labels |= {key: loss + _in_brackets(_only(keys, each)) for key, each in settings.items()}
    times = Counter(labels.values())  # a label twice: they differ in something that is neither loss nor recipe
    labels = {key: label if times[label] == 1 else f"{label} [{key[:8]}]" for key, label in labels.items()}
    return dict(sorted(labels.items(), key=lambda item: item[1]))


def differing(settings: Iterable[Mapping[str, str]]) -> list[str]:
    """The keys on which these do not all agree, keys that only some have included."""
    settings = list(settings)
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({each.get(key) for each in settings}) > 1]


def section(runs: Sequence[Result], fpr: str, detectors: Sequence[str]) -> Table:
    """The table of runs of one protocol: a row per configuration and detector, mean and deviation over its seeds."""
    labels = row_labels(runs)
    seeds = Counter(run.hash for run in runs)
    sets = sorted({(ood not in run.near, ood, n) for run in runs for ood, n in run.ood_images.items()})  # near first
    columns = [Column(False, "", 0, metric) for metric in ("accuracy", "ece")]
    columns += [Column(not far, ood, n, metric) for far, ood, n in sets for metric in ("auroc", f"fpr95_{fpr}")]
    by_row = long_format(runs).groupby(["hash", "detector", *Column._fields])["value"]
    stats: dict[Any, Any] = by_row.agg(["mean", "std", "count"]).to_dict("index")

    best = {}
    for column in columns:
        cells = {(key, detector if column.ood else "", *column) for key in labels for detector in detectors}
        best[column] = _best([stats[cell]["mean"] for cell in cells if cell in stats], column.metric)

    def cell(key: str, detector: str, column: Column) -> str:
        if column.ood:
            return _cell(stats.get((key, detector, *column)), seeds[key], best[column])
        first_row = detector == detectors[0]  # of the loss, whatever the detector
        return _cell(stats.get((key, "", *column)), seeds[key], best[column]) if first_row else ""

    rows = [
        [label, detector, str(seeds[key]), *(cell(key, detector, column) for column in columns)]
        for key, label in labels.items()
        for detector in detectors
    ]
    twice = {ood for ood, times in Counter(ood for _, ood, _ in sets).items() if times > 1}
    header = [(_group(c) + f", {c.images:,} images" * (c.ood in twice), HEADER[c.metric]) for c in columns]
    notes = _caption(runs, labels, fpr, detectors)
    return Table(protocol(runs[0]), [("", "Loss"), ("", "Score"), ("", "n"), *header], rows, notes)


def _best(means: Sequence[float], metric: str) -> float | None:
    """The best of a column's unrounded means; a single one is not compared."""
    if len(means) < 2:
        return None
    return max(means) if HEADER[metric].endswith("↑") else min(means)


def _cell(stat: Mapping[str, float] | None, n: int, best: float | None) -> str:
    """Percent; `n` is the row's number of seeds, and a cell with fewer says so."""
    if stat is None:
        return MISSING
    text = f"{100 * stat['mean']:.2f}"
    text += f" ± {100 * stat['std']:.2f}" if stat["count"] > 1 else ""
    text += f" (n={stat['count']:.0f})" if stat["count"] != n else ""
    tied = best is not None and abs(stat["mean"] - best) < 1e-12  # the mean of three times 0.05 is not 0.05
    return f"**{text}**" if tied else text


def _caption(runs: Sequence[Result], labels: Mapping[str, str], fpr: str, detectors: Sequence[str]) -> list[str]:
    """What a reader must know to compare these numbers with another paper's."""
    run = runs[0]
    own = differing(each.recipe_settings for each in runs)
    common = {key: value for key, value in run.recipe_settings.items() if key not in own}
    train = (
        f"a class-balanced subset of {run.train_images:,} of the" if run.train_limit else f"all {run.train_images:,}"
    )
    test = f"a subset of {run.test_images:,} of the" if run.test_limit else f"all {run.test_images:,}"
    sets = sorted({(ood, n) for each in runs for ood, n in each.ood_images.items()})
    scores = ", ".join(f"`{name}`" + (f" ({SCORES[name]})" if name in SCORES else "") for name in detectors)
    notes = [
        "Mean ± sample standard deviation over n training seeds (n = 1: no deviation), in percent, ECE too. "
        "Bold: the best mean of a column. " + ("Weights of the last epoch." if run.epochs else "Trained elsewhere."),
        f"FPR@95 is `fpr95_{fpr}`: {FPR[fpr]}.",
        "ECE: 15 equal-width bins (lo, hi] of the largest class probability. "
        f"Score: {scores}; accuracy and ECE do not depend on it and stand on a loss's first row.",
        f"Protocol: {run.backbone}{_in_brackets(run.backbone_settings)}, precision {run.precision}; "
        f"recipe {run.recipe}: {_listed(common)}.",
        f"Data: trained on {train} training images, tested on {test} test images. "
        f"OOD images: {', '.join(f'{ood} {n:,}' for ood, n in sets)}.",
    ]
    notes += _dashes(runs, labels, detectors)
    notes[:0] = sorted({each.note for each in runs} - {""})
    of = {each.hash: each for each in runs}
    for key, label in labels.items():
        recipe = _only(own, of[key].recipe_settings)
        hyperparameters = _listed(of[key].loss_settings) or "no hyperparameters"
        notes.append(f"`{label}`: {hyperparameters}" + f"; recipe: {_listed(recipe)}" * bool(recipe) + ".")
    return notes


def _dashes(runs: Sequence[Result], labels: Mapping[str, str], detectors: Sequence[str]) -> list[str]:
    """Why a score has no numbers: a note a score and reason, with the losses it is of."""
    reasons = {
        (d, run.not_applicable[d], labels[run.hash]) for run in runs for d in detectors if d in run.not_applicable
    }
    return [
        f"{MISSING} `{detector}` {reason}: {', '.join(f'`{label}`' for *_, label in group)}."
        for (detector, reason), group in groupby(sorted(reasons), key=lambda each: each[:2])
    ]


def published_table(rows: Sequence[Published], fpr: str) -> Table:
    """Others' numbers, never bold; an FPR@95 under its own convention, or with a dagger if its source names none."""
    near = frozenset[str]().union(*(row.near for row in rows))
    names = {key.rpartition(".")[0] for row in rows for key in row.numbers} - {""}
    columns = [Column(False, "", 0, metric) for metric in ("accuracy", "ece")]
    for ood in sorted(names, key=lambda ood: (ood not in near, ood)):
        columns += [Column(ood in near, ood, 0, m) for m in ("auroc", f"fpr95_{fpr}", "fpr95_unstated")]
    keys = {column: f"{column.ood}.{column.metric}".lstrip(".") for column in columns}
    keys = {column: key for column, key in keys.items() if any(key in row.numbers for row in rows)}
    body = [
        [
            row.loss,
            row.backbone,
            *(f"{100 * row.numbers[k]:.2f}" if k in row.numbers else MISSING for k in keys.values()),
        ]
        for row in rows
    ]
    notes = ["Published by others, not run here and not compared in bold. In percent, ECE too."]
    if any(column.metric == "fpr95_unstated" for column in keys):
        notes.append("† FPR@95, convention not stated: the source does not say if `fpr95_idpos` or `fpr95_oodpos`.")
    for about, group in groupby(rows, key=lambda row: (row.source, row.protocol, row.note)):
        notes.append(", ".join(f"`{row.loss}`" for row in group) + ": " + " ".join(text for text in about if text))
    header = [(_group(column), HEADER[column.metric]) for column in keys]
    return Table("Published rows", [("", "Loss"), ("", "Backbone"), *header], body, notes)


def tables_of(
    runs: Iterable[Result], published: Iterable[Published], fpr: str, detectors: Sequence[str]
) -> list[Table]:
    """A table per protocol of one data set's runs, the largest training first; the published rows beneath."""
    runs = sorted(runs, key=lambda run: (-run.train_images, -(run.epochs or 0), protocol(run)))
    tables = [section(list(group), fpr, detectors) for _, group in groupby(runs, key=protocol)]
    rows = [row for row in published if row.dataset == runs[0].dataset]
    return [*tables, published_table(rows, fpr)] if rows else tables


def _group(column: Column) -> str:
    return f"{column.ood} ({'near' if column.near else 'far'})" if column.ood else ""


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _in_brackets(settings: Mapping[str, str]) -> str:
    return f" ({_listed(settings)})" if settings else ""


def _only(keys: Iterable[str], settings: Mapping[str, str]) -> dict[str, str]:
    return {key: settings[key] for key in keys if key in settings}


def _prefixed(prefix: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {prefix + key: value for key, value in settings.items()}
