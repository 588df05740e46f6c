"""Scores of tables: their names, and the hyperparameters of the detectors behind them."""

import json
from collections.abc import Mapping, Sequence

from oodbench.runs.record import OWN_SCORE, SELECTED
from oodbench.tables.fields import flatten
from oodbench.tables.labels import Row, differing, in_brackets, less, listed, only, row_of
from oodbench.tables.results import Result

SCORES = {
    OWN_SCORE: f"`{OWN_SCORE}`, the OOD score that belongs to the loss",
    "msp": "minus the largest class probability",
}


def shown(detector: str) -> str:
    """Return the name of a detector in tables."""
    return "own" if detector == OWN_SCORE else detector


def hyperparameters(run: Result, detector: str) -> dict[str, str]:
    """Return {key: printed value} of a detector with which a run was scored; {} where it has none."""
    configured = json.loads(run.scored_by.get(detector, "{}"))
    return flatten(configured) if isinstance(configured, dict) else {}  # of a run that anybody wrote


def described(runs: Sequence[Result], detector: str) -> str:
    """Return the name of a detector, with what it is or the hyperparameters that all runs share."""
    if detector in SCORES:
        return f"{shown(detector)} ({SCORES[detector]})"
    return shown(detector) + in_brackets(_shared_hyperparameters(runs, detector))


def _shared_hyperparameters(runs: Sequence[Result], detector: str) -> dict[str, str]:
    of = [hyperparameters(run, detector) for run in runs if detector in run.scored_by]
    return less(differing(of), "", of[0]) if of else {}


def all_hyperparameters(runs: Sequence[Result], detectors: Sequence[str]) -> list[str]:
    """List the hyperparameters of detectors on which all runs agree; `other_settings` has the others."""
    found = {detector: _shared_hyperparameters(runs, detector) for detector in detectors}
    each = [f"{shown(detector)} {listed(settings)}" for detector, settings in found.items() if settings]
    return [f"Hyperparameters of the scores, in every table of this protocol: {'; '.join(each)}."] * bool(each)


def other_settings(
    runs: Sequence[Result], labels: Mapping[Row, str], detectors: Sequence[str], by: Sequence[str] = ()
) -> list[str]:
    """Name the detectors whose hyperparameters differ between rows, with the values and their rows."""
    notes = []
    for detector in detectors:
        rows: dict[str, list[str]] = {}
        settings: dict[str, dict[str, str]] = {}
        for run in runs:
            if detector in run.scored_by:
                label = f"`{labels[row_of(run, by)]}`"
                rows.setdefault(run.scored_by[detector], []).append(label)
                settings[run.scored_by[detector]] = hyperparameters(run, detector)
        keys = differing(settings.values())
        if keys and not detector.endswith(SELECTED):
            each = [f"{listed(only(keys, settings[how]))} in {', '.join(dict.fromkeys(rows[how]))}" for how in rows]
            notes.append(f"{shown(detector)} is set differently: {'; '.join(each)}.")
    return notes
