"""Notes beneath a table: all that is needed to compare its numbers with another paper's."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from oodbench.evaluation.metric import MISSING, IDMetric, Metric
from oodbench.phrases import join
from oodbench.runs.record import OWN_SCORE
from oodbench.tables.caveats import AGAIN, caveats
from oodbench.tables.formulas import ood_score_formula
from oodbench.tables.labels import Row, row_of
from oodbench.tables.marks import Marks, notes_on_marks, shared_seeds
from oodbench.tables.results import Result
from oodbench.tables.scores import described
from oodbench.tables.settings import differing, in_brackets, settings_text, without_keys

SPREAD = (
    "Mean ± sample standard deviation over n training seeds; for n = 1 the value and in brackets its 95 % bootstrap "
    "interval over the test images, which does not include the variation between trainings."
)


def trained(runs: Iterable[Result]) -> str:
    """Name the weights that the numbers are of."""
    here = {run.epochs is not None for run in runs}
    if len(here) > 1:
        return "Weights of the last epoch; of the recipe pretrained, trained by other code."
    return "Weights of the last epoch." if True in here else "Trained by other code."


def table_notes(
    runs: Sequence[Result],
    labels: Mapping[Row, str],
    metrics: Sequence[Metric],
    detectors: Sequence[str],
    marks: Mapping[str, Marks],
    by: Sequence[str],
) -> list[str]:
    """Return the notes of a table.

    metrics: those of the columns; marks: {name of a column: what is marked in it}.
    """
    run = runs[0]
    varying = differing(each.recipe_settings for each in runs)
    common = without_keys(by, "recipe.", without_keys(varying, "", run.recipe_settings))
    scores = ", ".join(described(runs, name) for name in detectors)
    parts = {
        "backbone": f"{run.backbone}{in_brackets(without_keys(by, 'backbone.', run.backbone_settings))}",
        "precision": f"precision {run.precision}",
        "recipe": f"recipe {run.recipe}: {settings_text(common)}",
    }
    protocol = "; ".join(text for key, text in parts.items() if key not in by)
    notes = [
        *sorted({each.note for each in runs} - {""}),
        f"In percent where not stated otherwise. {SPREAD} {trained(runs)}",
        *notes_on_marks(marks),
        *shared_seeds(marks),
        *without_resamples(runs, labels, by),
        definitions(metrics),
        *[f"Score: {scores}. Scores whose printed numbers are the same share a row. {_independent(metrics)}"]
        * any(detectors),
        *[f"Protocol: {protocol}."] * bool(protocol),
        _data(runs, by),
        *caveats(runs, labels, detectors, by),
        *_dashes(runs, labels, detectors, by),
        *without_metric(runs, labels, metrics, by),
    ]
    of = {row_of(each, by): each for each in runs}
    notes += [f"`{label}`: {_settings(of[row], OWN_SCORE in detectors, by)}." for row, label in labels.items()]
    return list(dict.fromkeys(notes))


def loss_settings(runs: Iterable[Result], labels: Mapping[Row, str]) -> list[str]:
    """List the hyperparameters of all rows' losses in one note."""
    of = {row_of(run): run for run in runs}
    each = [
        f"`{label}` {settings_text(of[row].loss_settings)}" for row, label in labels.items() if of[row].loss_settings
    ]
    return [f"Hyperparameters of the losses: {'; '.join(each)}."] if each else []


def _settings(run: Result, with_own: bool, by: Sequence[str]) -> str:
    """List a row's hyperparameters and the formula of its own score."""
    formula = ood_score_formula(run.loss_class) if with_own else ""
    hyperparameters = settings_text(without_keys(by, "loss.", run.loss_settings)) or "no hyperparameters"
    return hyperparameters + f"; own: {formula}" * bool(formula)


def _data(runs: Sequence[Result], by: Sequence[str]) -> str:
    run = runs[0]
    of = f"{run.train_images:,} of the" if run.train_limit or run.held_out else f"{run.train_images:,}"
    train = f"a class-balanced subset of {of}" if run.train_limit else of
    test = f"a subset of {run.test_images:,} of the" if run.test_limit else f"{run.test_images:,}"
    split = f" of the split {run.test_split}" * (run.test_split != "test" and "dataset.test.split" not in by)
    sets = sorted({(ood, n) for each in runs for ood, n in each.ood_images.items()})
    held_out = f" ({run.held_out:,} held out to choose hyperparameters by)" * bool(run.held_out)
    used = "trained on" if run.epochs else "detectors that learn saw"
    data = [f"{used} {train} training images{held_out}"] * ("dataset.limit" not in by)
    data += [f"tested on {test} test images{split}"] * ("dataset.limit_test" not in by)
    data += [f"OOD images: {', '.join(f'{ood} {n:,}' for ood, n in sets) or 'none'}"]
    return "Data: " + (", ".join(data[:-1]) + ". ") * (len(data) > 1) + data[-1] + "."


def _independent(metrics: Iterable[Metric]) -> str:
    names = [metric.heading for metric in metrics if isinstance(metric, IDMetric)]
    return f"{' and '.join(names)} do not depend on it and stand in the first row of a loss."


def definitions(metrics: Iterable[Metric]) -> str:
    """Define each metric in one sentence."""
    return " ".join(f"{metric.heading}: {metric.definition} (`{metric.name}`)." for metric in metrics)


def directions(metrics: Iterable[Metric]) -> str:
    """Say of which metrics higher values are better."""
    metrics = list(metrics)
    higher, lower = (join(m.heading for m in metrics if m.higher_is_better is each) for each in (True, False))
    return f"Higher is better for {higher}, lower for {lower}."


def without_resamples(runs: Iterable[Result], labels: Mapping[Row, str], by: Sequence[str] = ()) -> list[str]:
    """Name the rows with runs that were scored before there were intervals."""
    rows = {labels[row_of(run, by)] for run in runs if run.numbers and not run.intervals}
    names = ", ".join(f"`{label}`" for label in sorted(rows))
    return [f"No interval and no test where runs were scored without resamples, {AGAIN}: {names}."] if rows else []


def without_metric(
    runs: Iterable[Result], labels: Mapping[Row, str], metrics: Iterable[Metric], by: Sequence[str] = ()
) -> list[str]:
    """Name the rows with runs that were scored before there was a metric."""
    runs, notes = list(runs), []
    for metric in metrics:
        rows = {labels[row_of(run, by)] for run in runs if _lacks(run, metric)}
        names = ", ".join(f"`{label}`" for label in sorted(rows))
        notes += [f"{MISSING} under {metric.heading}: scored without this metric, {AGAIN}: {names}."] * bool(rows)
    return notes


def _lacks(run: Result, metric: Metric) -> bool:
    """Tell whether a run has other numbers where this one would stand."""
    of_id = isinstance(metric, IDMetric)
    places = {(ood, detector) for ood, detector, _ in run.numbers if (not ood) == of_id}
    return any((*place, metric.name) not in run.numbers for place in places)


def _dashes(
    runs: Sequence[Result], labels: Mapping[Row, str], detectors: Sequence[str], by: Sequence[str]
) -> list[str]:
    """Say why a score has no numbers: one note per score and reason, with its losses."""
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
