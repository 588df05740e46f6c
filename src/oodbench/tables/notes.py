"""What a reader must know to compare a table's numbers with another paper's."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from oodbench.tables.cells import MISSING, Bold
from oodbench.tables.labels import Row, differing, in_brackets, less, listed, only, row_of
from oodbench.tables.results import Result

FPR = {
    "idpos": "the share of OOD images accepted when 95 % of the ID images are accepted",
    "oodpos": "the share of ID images flagged when 95 % of the OOD images are caught",
}
SCORES = {"ood_score": "the loss's own", "msp": "minus the largest class probability"}
SPREAD = (
    "Mean ± sample standard deviation over n training seeds; n = 1: the value and in brackets its 95 % bootstrap "
    "interval over the test images, which says nothing of another training."
)
BOLD = (
    "Bold: the best mean of a column, and every row that is not distinguishable from it at 5 % (paired tests on the "
    "same seeds and resampled images, Holm's correction over the rows; of one seed, p-values smaller than resamples "
    "can show are the normal law's). The best is picked by these very numbers, so it is flattered: a row that is as "
    "good may lack the mark, the truly best row does in less than 5 % of columns. n = 1 compares these networks, not "
    "the losses; few seeds tell little apart, so that much is bold."
)
AGAIN = "score them again with `scripts/evaluate.py`"


def trained(run: Result) -> str:
    """Which weights the numbers are of."""
    return "Weights of the last epoch." if run.epochs else "Trained elsewhere."


def caption(
    runs: Sequence[Result],
    labels: Mapping[Row, str],
    fpr: str,
    detectors: Sequence[str],
    marks: Mapping[str, Bold],
    by: Sequence[str],
) -> list[str]:
    """marks: {name of a column: what is bold in it}"""
    run = runs[0]
    own = differing(each.recipe_settings for each in runs)
    common = less(by, "recipe.", less(own, "", run.recipe_settings))
    train = (
        f"a class-balanced subset of {run.train_images:,} of the" if run.train_limit else f"all {run.train_images:,}"
    )
    train = f"{run.train_images:,} of the" if run.held_out and not run.train_limit else train
    test = f"a subset of {run.test_images:,} of the" if run.test_limit else f"all {run.test_images:,}"
    sets = sorted({(ood, n) for each in runs for ood, n in each.ood_images.items()})
    scores = ", ".join(f"`{name}`" + (f" ({SCORES[name]})" if name in SCORES else "") for name in detectors)
    held_out = f" ({run.held_out:,} held out to choose hyperparameters by)" * bool(run.held_out)
    used = "trained on" if run.epochs else "detectors that learn saw"
    data = [f"{used} {train} training images{held_out}"] * ("dataset.limit" not in by)
    data += [f"tested on {test} test images"] * ("dataset.limit_test" not in by)
    data += [f"OOD images: {', '.join(f'{ood} {n:,}' for ood, n in sets)}"]
    notes = [
        *sorted({each.note for each in runs} - {""}),
        f"In percent, ECE too. {SPREAD} {trained(run)}",
        *bold_notes(marks),
        *shared_seeds(marks, runs),
        *without_resamples(runs, labels, by),
        f"FPR@95 is `fpr95_{fpr}`: {FPR[fpr]}.",
        "ECE: 15 equal-width bins (lo, hi] of the largest class probability. "
        f"Score: {scores}; accuracy and ECE do not depend on it and stand on a loss's first row.",
        f"Protocol: {run.backbone}{in_brackets(less(by, 'backbone.', run.backbone_settings))}, "
        f"precision {run.precision}; recipe {run.recipe}: {listed(common)}.",
        "Data: " + (", ".join(data[:-1]) + ". ") * (len(data) > 1) + data[-1] + ".",
        *_dashes(runs, labels, detectors, by),
    ]
    of = {row_of(each, by): each for each in runs}
    for row, label in labels.items():
        recipe = only(own, less(by, "recipe.", of[row].recipe_settings))
        hyperparameters = listed(less(by, "loss.", of[row].loss_settings)) or "no hyperparameters"
        notes.append(f"`{label}`: {hyperparameters}" + f"; recipe: {listed(recipe)}" * bool(recipe) + ".")
    return list(dict.fromkeys(notes))


def bold_notes(marks: Mapping[str, Bold]) -> list[str]:
    """What bold means in columns of these names, and where it means less."""
    compared = {name: mark for name, mark in marks.items() if mark.keys}
    if not compared:
        return []
    reasons = sorted({mark.untested for mark in compared.values() if mark.untested})
    notes = [BOLD] * any(not mark.untested for mark in compared.values())
    for reason in reasons:
        names = [name for name, mark in compared.items() if mark.untested == reason]
        where = "" if len(names) == len(compared) else f" in {', '.join(names)}"
        notes.append(f"Bold{where}: the best mean alone, not tested against the others, because {reason}.")
    return notes


def shared_seeds(marks: Mapping[str, Bold], runs: Iterable[Result]) -> list[str]:
    """A note where some row has more seeds than those it was compared on."""
    seeds = {run.seed for run in runs}
    found: dict[tuple[int, ...], list[str]] = {}
    for name, mark in marks.items():
        if mark.seeds and set(mark.seeds) != seeds:
            found.setdefault(mark.seeds, []).append(name)
    return [
        f"Rows have different seeds: compared for bold on those that all rows share, {', '.join(map(str, shared))}, "
        f"the means are of all n; in {', '.join(names)}."
        for shared, names in found.items()
    ]


def without_resamples(runs: Iterable[Result], labels: Mapping[Row, str], by: Sequence[str] = ()) -> list[str]:
    """Which rows have runs that were scored before intervals were."""
    rows = {labels[row_of(run, by)] for run in runs if run.numbers.keys() - run.intervals.keys()}
    names = ", ".join(f"`{label}`" for label in sorted(rows))
    return [f"No interval and no test where runs were scored without resamples, {AGAIN}: {names}."] if rows else []


def _dashes(
    runs: Sequence[Result], labels: Mapping[Row, str], detectors: Sequence[str], by: Sequence[str]
) -> list[str]:
    """Why a score has no numbers: a note a score and reason, with the losses it is of."""
    reasons = {
        (d, run.not_applicable[d], labels[row_of(run, by)])
        for run in runs
        for d in detectors
        if d in run.not_applicable
    }
    return [
        f"{MISSING} `{detector}` {reason}: {', '.join(f'`{label}`' for *_, label in group)}."
        for (detector, reason), group in groupby(sorted(reasons), key=lambda each: each[:2])
    ]
