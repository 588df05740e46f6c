"""Runs -> tidy tables: runs.csv, one row per number of a run; means.csv, one per mean over seeds."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from oodbench.evaluation.metrics import metric_of
from oodbench.evaluation.significance import over_seeds
from oodbench.phrases import printable
from oodbench.runs.record import SELECTED
from oodbench.tables.fields import Key
from oodbench.tables.labels import protocol, row_of
from oodbench.tables.means import FAR, NEAR, common_means, with_means
from oodbench.tables.results import Result
from oodbench.tables.scores import hyperparameters
from oodbench.tables.settings import settings_text

IMAGES = ["train_images", "held_out", "test_images", "test_digest", "test_split"]
NAMES = ["dataset", "backbone", "loss", "recipe", "hash", "epochs"]
CONFIGURATION = [*NAMES, "train_limit", "test_limit", *IMAGES, "precision"]
PARTS = ("backbone", "loss", "recipe")  # whose settings have a column each: backbone.width, loss.tau
NUMBER = ["ood", "detector", "metric", "value", "low", "high"]
OF_SET = ["kind", "images", "images_digest", "ood_settings", "detector_settings"]
DIGITS = 12  # of a digest
OVER_SEEDS = ["ood", "detector", "metric", "seeds", "mean", "deviation", "low", "high"]
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet would compute
LONGEST = 200  # characters of a setting, which every row repeats


class Long(NamedTuple):
    """A table; None where there is no value."""

    fields: list[str]
    rows: Iterator[list[Any]]


def to_csv(table: Long) -> str:
    """Return a table as CSV, an empty cell for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(chain([table.fields], table.rows))
    return text.getvalue()


def numbers_of(runs: Iterable[Result]) -> Long:
    """Return one row per number of a run; low, high: its 95 % interval over images.

    Near and far means stand under the OOD sets "near mean" and "far mean", over the sets that the run's table names;
    `kind` is that of the OOD set, `images` the number of its images, of a mean over sets that of all together;
    `images_digest` is that of the OOD set, of a mean over sets that of the digests of all.
    """
    runs = _with_means(list(runs))
    keys = _settings(runs)

    def rows() -> Iterator[list[Any]]:
        for run in runs:
            of_run, of_sets = [*_configuration(run, keys), run.seed], _of_sets(run)
            for key, value in run.numbers.items():
                yield [*of_run, *of_sets[key[:2]], *key, value, *(run.interval(key) or (None, None))]

    return Long([*CONFIGURATION, *map(_short, keys), "seed", *OF_SET, *NUMBER], rows())


def means_of(runs: Iterable[Result]) -> Long:
    """Return one row per number of a configuration under one protocol: mean, sample deviation and the 95 % interval of
    the mean over its seeds (`oodbench.evaluation.significance.over_seeds`).
    """
    runs = _with_means(list(runs))
    keys = _settings(runs)
    alike: dict[tuple[Any, ...], list[Alike]] = defaultdict(list)
    for run in runs:
        row = row_of(run), protocol(run)  # seeds of one hash may differ in precision, or in the test images found
        of_sets = {of: _joined(alike[row, of], run, cells) for of, cells in _of_sets(run).items()}
        for key, value in run.numbers.items():
            of_sets[key[:2]].values.setdefault(key, {})[run.seed] = value

    def rows() -> Iterator[list[Any]]:
        for each in chain.from_iterable(alike.values()):
            for key, values in each.values.items():
                spread = over_seeds(np.array(list(values.values())), metric_of(key[-1]).unit.largest)
                of_seeds = [spread.n, spread.mean, spread.deviation, *(spread.interval or (None, None))]
                yield [*_configuration(each.first, keys), *each.known[1:], *key, *of_seeds]

    return Long([*CONFIGURATION, *map(_short, keys), *OF_SET, *OVER_SEEDS], rows())


class Alike(NamedTuple):
    """Seeds of a row whose numbers of an OOD set and a detector are of the same images and settings."""

    first: Result
    known: list[Any]  # digest of the test images and cells of OF_SET, None where no seed says
    values: dict[Key, dict[int, float]]  # {number: {seed: value}}


def _joined(groups: list[Alike], run: Result, cells: list[Any]) -> Alike:
    """Return the group that a run belongs to, a new one where there is none; early runs do not say all."""
    known = [_digest(run, "test"), *cells]
    for group in groups:
        both = list(zip(group.known, known, strict=True))
        if all(x == y for x, y in both if None not in (x, y)):
            group.known[:] = [y if x is None else x for x, y in both]
            return group
    groups.append(Alike(run, known, {}))
    return groups[-1]


def _settings(runs: Iterable[Result]) -> list[str]:
    """Return the dotted keys that some run has."""
    found = (f"{part}.{key}" for run in runs for part in PARTS for key in run.settings_of(part))
    return [key for key in dict.fromkeys(found) if key != "recipe.epochs"]


def _configuration(run: Result, keys: Iterable[str]) -> list[Any]:
    untrusted = {"test_digest": _digest(run, "test"), "test_split": _cell(run.test_split)}
    untrusted["precision"] = _cell(run.precision)
    names = [untrusted[field] if field in untrusted else getattr(run, field) for field in CONFIGURATION]
    return [*names, *(_cell(run.settings.get(key, "null")) for key in keys)]


def _cell(setting: str) -> str | None:
    """Return an untrusted value of a configuration or record as a cell that no spreadsheet takes for a formula."""
    if setting == "null":
        return None
    text = _short(setting)
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def _short(text: str) -> str:
    return printable(text[:LONGEST])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _digest(run: Result, name: str) -> str | None:
    """Return the first digits of the digest of a set's images; of the digests of several, of a mean over sets."""
    digest = run.digests.get(name, "")
    if name in (NEAR, FAR):
        digest = sha256(digest.encode()).hexdigest() if digest else ""
    return _cell(digest[:DIGITS] or "null")


def _of_sets(run: Result) -> dict[tuple[str, str], list[Any]]:
    """Return {(OOD set, detector): cells of OF_SET}; what was selected for each seed is no setting of a mean."""
    detectors = {detector: hyperparameters(run, detector) for detector in run.scored_by if SELECTED not in detector}
    of_detector = {detector: _cell(settings_text(each) or "null") for detector, each in detectors.items()}
    of_set: dict[str, list[Any]] = {}
    for ood in dict.fromkeys(key[0] for key in run.numbers):
        kind, digest = (str(run.kind(ood)), _digest(run, ood)) if ood else ("", None)
        settings = _cell(settings_text(run.ood_settings.get(ood, {})) or "null")
        of_set[ood] = [kind, run.ood_images.get(ood), digest, settings]
    return {key[:2]: [*of_set[key[0]], of_detector.get(key[1])] for key in run.numbers}


def _with_means(runs: Sequence[Result]) -> list[Result]:
    """Return the runs with the means that their tables have."""
    tables: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs:
        tables[run.dataset, protocol(run)].append(run)
    measured = (run for members in tables.values() for run in with_means(members, common_means(members)))
    by_folder = {run.folder: run for run in measured}
    return [by_folder[run.folder] for run in runs]
