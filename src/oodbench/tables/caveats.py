"""Caveats beneath a table: what its rows, or a row's seeds, differ in beside their loss, and what no title says."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import starmap

from oodbench.phrases import seeds_of
from oodbench.runs.record import SELECTED
from oodbench.tables.labels import Row, row_of
from oodbench.tables.means import KIND
from oodbench.tables.results import Result
from oodbench.tables.scores import hyperparameters, shown
from oodbench.tables.settings import differing, in_brackets, settings_text, with_keys, without_keys

AGAIN = "score them again with `scripts/evaluate.py`"
NORMALISATION = ("dataset.mean", "dataset.std")
Named = Sequence[tuple[str, Result]]  # (label of its row, run)
Settings = Iterable[tuple[str, Result, Mapping[str, str]]]


def caveats(
    runs: Iterable[Result], labels: Mapping[Row, str], detectors: Sequence[str], by: Sequence[str] = ()
) -> list[str]:
    """Return the caveats of a table of these runs and scores; `by`: keys that have columns."""
    rows = [(row_of(run, by), run) for run in runs]
    named = [(f"`{labels[row]}`{in_brackets(dict(zip(by, row.by, strict=True)))}", run) for row, run in rows]
    return [
        *_recipes(named, by),
        *_normalisation(named, by),
        *_sets(named, by),
        *_overlaps(named),
        *other_images(run for _, run in named),
        *_code(named),
        *_scores(named, detectors, by),
        *_selection(named, detectors),
        *_detector_code(named, detectors),
        *_metric_code(run for _, run in named),
    ]


def grouped(settings: Settings) -> str:
    """(label, run, settings) of all runs -> "a=1 in `x`, `y`; a=2 in `z`", with seeds where those of a row differ"""
    rows: dict[str, dict[str, list[int]]] = {}
    for label, run, each in settings:
        rows.setdefault(settings_text(each) or "nothing", {}).setdefault(label, []).append(run.seed)
    times = Counter(label for labels in rows.values() for label in labels)

    def name(label: str, seeds: Sequence[int]) -> str:
        return f"{label} ({seeds_of(seeds)})" if times[label] > 1 else label

    return "; ".join(f"{values} in {', '.join(starmap(name, labels.items()))}" for values, labels in rows.items())


def unlike(settings: Settings) -> str:
    """Return the same of the keys alone on which not all runs agree; "" where they do."""
    settings = list(settings)
    keys = differing(each for *_, each in settings)
    return grouped((label, run, with_keys(keys, each)) for label, run, each in settings) if keys else ""


def _recipes(named: Named, by: Sequence[str]) -> list[str]:
    found = unlike((label, run, without_keys(by, "recipe.", run.recipe_settings)) for label, run in named)
    return [f"The recipe is not the same in all runs: {found}."] if found else []


def _normalisation(named: Named, by: Sequence[str]) -> list[str]:
    keys = [key for key in NORMALISATION if key not in by]
    found = unlike((label, run, with_keys(keys, run.settings)) for label, run in named)
    return [f"Images are not normalised by the same numbers in all runs: {found}."] if found else []


def _sets(named: Named, by: Sequence[str]) -> list[str]:
    """Give the settings of OOD sets, such as the corruption and its severity; early runs do not say."""
    notes = []
    for ood in dict.fromkeys(ood for _, run in named for ood in run.ood_images):
        saying = [(label, run) for label, run in named if ood in run.ood_images and ood in run.ood_settings]
        settings = [(label, run, without_keys(by, f"ood.{ood}.", run.ood_settings[ood])) for label, run in saying]
        if any(each for *_, each in settings):
            same = {settings_text(each) for *_, each in settings}
            notes.append(f"OOD set {ood}: {same.pop() if len(same) == 1 else grouped(settings)}.")
    return notes


def _overlaps(named: Named) -> list[str]:
    rows = dict.fromkeys(label for label, run in named if run.settings.get("allow_overlap") == "true")
    what = "Test and OOD sets may share images with the training set, or with each other (allow_overlap=true)"
    return [f"{what}: {', '.join(rows)}."] if rows else []


def other_images(runs: Iterable[Result]) -> list[str]:
    """Name the sets that are not the same files in all runs, so that rows, or seeds of a mean, are of other images."""
    digests: dict[str, set[str]] = {}
    for run in runs:
        for name in ("train", "test", *(ood for ood in run.ood_images if ood not in KIND)):
            digests.setdefault(name, set()).add(run.digests.get(name, ""))
    names = ", ".join(name for name, found in digests.items() if len(found - {""}) > 1)  # early runs do not say
    return [f"Not the same images in all runs, by the digests of their files: {names}."] if names else []


def _code(named: Named) -> list[str]:
    """Name the rows of one loss or backbone whose runs are of different code of it; early runs do not say."""
    digests: dict[tuple[str, str], set[str]] = {}
    rows: dict[tuple[str, str], dict[str, None]] = {}
    for label, run in named:
        for part, name in (("loss", run.loss_class), ("backbone", run.backbone)):
            if digest := run.code.get(part):
                digests.setdefault((part, name), set()).add(digest)
                rows.setdefault((part, name), {})[label] = None
    return [
        f"The code of the {part} is not the same in all runs of {', '.join(rows[part, name])}."
        for (part, name), found in digests.items()
        if len(found) > 1
    ]


def _scores(named: Named, detectors: Iterable[str], by: Sequence[str]) -> list[str]:
    """Name the detectors whose hyperparameters differ between runs, with the values and their rows."""
    notes = []
    for detector in detectors:
        having = [(label, run) for label, run in named if detector in run.scored_by]
        keys = {key.partition(f"detector.{detector}.")[2] for key in by}  # of `image_detector` as well
        of = ((label, run, hyperparameters(run, detector)) for label, run in having)
        if found := unlike((label, run, {k: v for k, v in each.items() if k not in keys}) for label, run, each in of):
            notes.append(f"{shown(detector)} is set differently: {found}.")
    return notes


def _selection(named: Named, detectors: Iterable[str]) -> list[str]:
    """Say on what the hyperparameters of `_selected` detectors were chosen."""
    selected = [detector for detector in detectors if detector.endswith(SELECTED)]
    having = [(label, run) for label, run in named if set(selected) & run.scored_by.keys()]
    if not having:
        return []
    found = grouped((label, run, run.validation) for label, run in having)
    others = len({run.digests.get("val_ood", "") for _, run in having} - {""}) > 1
    images = ", not of the same images in all runs" * others
    return [f"Hyperparameters of {', '.join(selected)} were chosen on held-out images and an OOD set{images}: {found}."]


def _detector_code(named: Named, detectors: Iterable[str]) -> list[str]:
    having = [(run, {detector for _, detector, _ in run.numbers}) for _, run in named]
    found = {d: {run.detector_code.get(d, "") for run, scored in having if d in scored} for d in detectors}
    return _changed_code(found)


def _metric_code(runs: Iterable[Result]) -> list[str]:
    """Name the metrics of the test images, and of OOD sets that the runs have, whose code is not the same."""
    found: dict[str, set[str]] = {}
    for run in runs:
        of_numbers = {metric for ood, _, metric in run.numbers if not ood or ood in run.ood_images}
        for metric in sorted(of_numbers & run.metric_code.keys()):
            found.setdefault(metric, set()).add(run.metric_code[metric])
    return _changed_code(found)


def _changed_code(digests: Mapping[str, set[str]]) -> list[str]:
    """{detector or metric: digests of its code where runs were scored, "" where they do not say} -> the note"""
    names = ", ".join(f"`{name}`" for name, found in digests.items() if len(found - {""}) > 1)
    return [f"The code of {names} changed between runs, {AGAIN}."] if names else []
