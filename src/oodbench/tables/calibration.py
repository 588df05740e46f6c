"""Runs -> the table of how their probabilities are meant: as the loss reads them, and with a temperature."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from oodbench.tables.cells import MISSING, Bold, Cell, bold, text_of
from oodbench.tables.labels import Row, protocol, row_labels, row_of
from oodbench.tables.notes import AGAIN, SPREAD, bold_notes, shared_seeds
from oodbench.tables.results import Result, resamples
from oodbench.tables.sections import Table

READINGS = {"own": "own", "normalised": "normalised", "temperature_scaled": "temperature-scaled"}
NAMES = {
    "ece": "ECE ↓",
    "adaptive_ece": "adaptive ECE ↓",
    "classwise_ece": "class-wise ECE ↓",
    "mce": "MCE ↓",
    "nll": "NLL ↓",
    "brier": "Brier ↓",
}
RESAMPLED = ("ece", "nll", "brier")  # of the own reading
NOT_SHARES = ("nll", "brier")  # nats, and a sum of squares in [0, 2]
NO_TEMPERATURE = "no finite temperature is the best one for a half of the images"
MEANING = [
    "Calibration errors in percent, NLL in nats, Brier in [0, 2]; of three readings of the same outputs.",
    "own: the probabilities as the loss reads its logits, whose rows need not sum to one. "
    "normalised: shares of their sum, the same as own for a loss whose rows sum to one. Where they do not, own NLL and "
    "Brier are no proper scores: they take no part in bold. "
    "temperature-scaled: softmax of log p / T, each half of the test images with the T that has the smallest NLL on "
    "the other half (T: mean of the two); its T = 1 is the normalised reading.",
]


def calibration_table(runs: Sequence[Result]) -> Table | None:
    """Of runs of one protocol, a row a configuration; None where no run has such numbers."""
    labels = row_labels(runs)
    seeds = Counter(row_of(run) for run in runs)
    cells = _cells(runs)
    readings = [reading for reading in READINGS if any(key[1] == reading for key in cells)]
    if not readings:
        return None
    columns = list(product(readings, NAMES))
    improper = {row_of(run) for run in runs if "normalised" in run.calibration}

    def compared(reading: str, metric: str) -> dict[Row, Cell]:
        left_out = improper if reading == "own" and metric in NOT_SHARES else set()
        return {row: cells[row, reading, metric] for row in labels.keys() - left_out if (row, reading, metric) in cells}

    best = {(reading, metric): bold(compared(reading, metric), metric) for reading, metric in columns}
    rows = [
        [
            label,
            str(seeds[row]),
            *(
                text_of(cells.get((row, *column)), seeds[row], row in best[column].keys, column[1] not in NOT_SHARES)
                for column in columns
            ),
            _temperature([run for run in runs if row_of(run) == row]),
        ]
        for row, label in labels.items()
    ]
    header = [(READINGS[reading], NAMES[metric]) for reading, metric in columns]
    without = ", ".join(f"`{label}`" for row, label in labels.items() if (row, "own", "ece") not in cells)
    notes = [*MEANING, SPREAD, *_bold_notes(best), *shared_seeds(_named(best), runs)]
    notes += [f"{MISSING} scored without these numbers, {AGAIN}: {without}."] if without else []
    none = {
        f"`{labels[row_of(run)]}`" for run in runs if run.calibration and not run.calibration.get("temperature_scaled")
    }
    notes += [f"{MISSING} under temperature-scaled: {NO_TEMPERATURE}: {', '.join(sorted(none))}."] if none else []
    header = [("", "Loss"), ("", "n"), *header, (READINGS["temperature_scaled"], "T")]
    return Table(f"Calibration: {protocol(runs[0])}", header, rows, notes, 1)


def _cells(runs: Sequence[Result]) -> dict[tuple[Row, str, str], Cell]:
    """By row, reading and metric; only the own ECE, NLL and Brier score have resamples."""
    cells: dict[tuple[Row, str, str], Cell] = {}
    readings = READINGS if any("normalised" in run.calibration for run in runs) else READINGS.keys() - {"normalised"}
    for run in runs:
        resampled = resamples(run.folder) if run.calibration else {}
        own: Mapping[str, Any] = run.calibration.get("own") or {}
        for reading, metric in product(readings, NAMES):
            numbers = run.calibration.get(reading, own if reading == "normalised" else None) or {}
            if metric not in numbers:
                continue
            cell = cells.setdefault((row_of(run), reading, metric), Cell({}, {}, {}, set()))
            cell.values[run.seed] = numbers[metric]
            if _is_resampled((reading, metric)) and ("", "", metric) in run.intervals:
                cell.intervals[run.seed] = run.intervals["", "", metric]
            if _is_resampled((reading, metric)) and metric in resampled:
                cell.resampled[run.seed] = resampled[metric]
            if digest := run.digests.get("test"):
                cell.digests.add((digest,))
    return cells


def _temperature(runs: Sequence[Result]) -> str:
    """Mean over seeds of the mean of each run's two"""
    scaled = [run.calibration.get("temperature_scaled") for run in runs]
    values = [float(np.mean(numbers["temperatures"])) for numbers in scaled if numbers]
    return f"{np.mean(values):.3g}" if values else MISSING


def _bold_notes(best: Mapping[tuple[str, str], Bold]) -> list[str]:
    return [
        *bold_notes(_named({column: mark for column, mark in best.items() if _is_resampled(column)})),
        "Only own ECE, NLL and Brier have resamples, so an interval and a test; elsewhere bold is the best mean alone.",
    ]


def _named(best: Mapping[tuple[str, str], Bold]) -> dict[str, Bold]:
    return {f"{READINGS[reading]} {NAMES[metric]}": mark for (reading, metric), mark in best.items()}


def _is_resampled(column: tuple[str, str]) -> bool:
    return column[0] == "own" and column[1] in RESAMPLED
