"""Runs -> the table of calibration metrics, of three versions of the probabilities."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from oodbench.evaluation.metric import MISSING
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS
from oodbench.tables.caveats import AGAIN, caveats
from oodbench.tables.cells import Cell, text_of
from oodbench.tables.ensembles import NO_ENSEMBLES, Ensembles, ensemble_notes
from oodbench.tables.fields import VERSIONS
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.marks import Marks, marks_of, notes_on_marks, shared_seeds
from oodbench.tables.notes import SPREAD, definitions
from oodbench.tables.results import Result
from oodbench.tables.sections import Table

NO_TEMPERATURE = "no finite temperature is the best one for a half of the images"
MEANING = [
    "Calibration errors in percent; three versions of the probabilities of the same outputs.",
    "predictive: the predictive probabilities of the loss, which need not sum to one. normalised: divided by their "
    "sum, the same as predictive for a loss whose probabilities sum to one. Where they do not, predictive NLL and "
    "Brier are no proper scores and are not compared. temperature-scaled: softmax of log p / T, each half of the "
    "test images with the T of the smallest NLL on the other half (T: mean of the two); with T = 1 it is the "
    "normalised version.",
]
Version = tuple[str, str]  # version of the probabilities, metric


def calibration_table(runs: Sequence[Result], ensembles: Ensembles = NO_ENSEMBLES) -> Table | None:
    """Return the table of one protocol's runs, one row per configuration or ensemble; None where no run has numbers."""
    labels = row_labels(runs)
    seeds = Counter(row_of(run) for run in runs)
    cells = _cells([*runs, *ensembles.found.values()])
    versions = [version for version in VERSIONS if any(key[1] == version for key in cells)]
    if not versions:
        return None
    columns = list(product(versions, CALIBRATION_METRICS))
    improper = {row_of(run) for run in runs if "normalised" in run.calibration}

    def compared(version: str, metric: str) -> dict[Row, Cell]:
        left_out = improper if version == "predictive" and CALIBRATION_METRICS[metric].proper_score else set()
        return {row: cells[row, version, metric] for row in labels.keys() - left_out if (row, version, metric) in cells}

    best = {
        (version, metric): marks_of(compared(version, metric), CALIBRATION_METRICS[metric])
        for version, metric in columns
    }

    def line(row: Row, label: str, members: Sequence[Result]) -> list[str]:
        n = len(members)
        texts = [
            text_of(cells.get((row, *column)), n, CALIBRATION_METRICS[column[1]].unit, best[column].of(row))
            for column in columns
        ]
        return [label, str(n), *texts, _temperature(members)]

    rows = []
    for row, label in labels.items():
        rows.append(line(row, label, [run for run in runs if row_of(run) == row]))
        if one := ensembles.found.get(row):
            rows.append(line(row_of(one), f"{label}, ensemble of {seeds[row]}", [one]))
    header = [(version, CALIBRATION_METRICS[metric].title) for version, metric in columns]
    header = [("", "Loss"), ("", "n"), *header, ("temperature-scaled", "T")]
    notes = [*MEANING, definitions(CALIBRATION_METRICS.values()), SPREAD, *_notes_on_marks(best)]
    notes += [
        *shared_seeds(_named(best)),
        *caveats([run._replace(ood_images={}) for run in runs], labels, []),
        *_dashes(runs, labels, cells),
        *ensemble_notes(ensembles, labels),
    ]
    return Table(f"Calibration: {protocol(runs[0])}", header, rows, notes, 1, MEANING[0])


def _cells(runs: Sequence[Result]) -> dict[tuple[Row, str, str], Cell]:
    """Return the cells by row, version and metric; those of the predictive probabilities alone have resamples."""
    found: dict[tuple[Row, str, str], list[tuple[Result, float]]] = {}
    versions = VERSIONS if any("normalised" in run.calibration for run in runs) else VERSIONS.keys() - {"normalised"}
    for run in runs:
        predictive: Mapping[str, Any] = run.calibration.get("predictive") or {}
        for version, metric in product(versions, CALIBRATION_METRICS):
            numbers = run.calibration.get(version, predictive if version == "normalised" else None) or {}
            if metric in numbers:
                found.setdefault((row_of(run), version, metric), []).append((run, numbers[metric]))
    return {key: Cell.of(each, ("", "", key[2]), resampled=_is_resampled(key[1:])) for key, each in found.items()}


def _temperature(runs: Sequence[Result]) -> str:
    """Format the mean over seeds of the mean of each run's two temperatures."""
    scaled = [run.calibration.get("temperature-scaled") or {} for run in runs]
    values = [float(np.mean(numbers["temperatures"])) for numbers in scaled if "temperatures" in numbers]
    return f"{np.mean(values):.3g}" if values else MISSING


def _notes_on_marks(best: Mapping[Version, Marks]) -> list[str]:
    resampled = {version: mark for version, mark in best.items() if _is_resampled(version)}
    names = [CALIBRATION_METRICS[metric].heading for _, metric in resampled]
    tested = ", ".join(names[:-1]) + " and " * (len(names) > 1) + "".join(names[-1:])
    only = f"Only predictive {tested} have resamples, so an interval and a test; elsewhere bold alone is used."
    return [*notes_on_marks(_named(resampled)), only]


def _named(best: Mapping[Version, Marks]) -> dict[str, Marks]:
    return {f"{version} {CALIBRATION_METRICS[metric].title}": mark for (version, metric), mark in best.items()}


def _dashes(runs: Sequence[Result], labels: Mapping[Row, str], cells: Mapping[tuple[Row, str, str], Cell]) -> list[str]:
    """Say why cells are empty."""
    present = {(row, metric) for row, version, metric in cells if version == "predictive"}
    lacking: dict[str, list[str]] = {}
    for metric in CALIBRATION_METRICS.values():
        rows = ", ".join(f"`{label}`" for row, label in labels.items() if (row, metric.name) not in present)
        lacking.setdefault(rows, []).append(metric.heading)
    notes = [
        f"{MISSING} scored without {', '.join(names) if len(names) < len(CALIBRATION_METRICS) else 'these numbers'}, "
        f"{AGAIN}: {rows}."
        for rows, names in lacking.items()
        if rows
    ]
    none = {
        f"`{labels[row_of(run)]}`" for run in runs if run.calibration and not run.calibration.get("temperature-scaled")
    }
    notes += [f"{MISSING} under temperature-scaled: {NO_TEMPERATURE}: {', '.join(sorted(none))}."] if none else []
    return notes


def _is_resampled(version: Version) -> bool:
    return version[0] == "predictive" and version[1] in ID_METRICS and ID_METRICS[version[1]].resampled is not None
