"""Scores of tables: their names, and the hyperparameters of the detectors behind them."""

import json
from collections.abc import Sequence

from oodbench.runs.record import OWN_SCORE
from oodbench.tables.results import Result
from oodbench.tables.settings import differing, flatten, in_brackets, settings_text, without_keys

SCORES = {
    OWN_SCORE: f"`{OWN_SCORE}`, the OOD score that belongs to the loss",
    "msp": "minus the largest class probability",
}


def shown(detector: str) -> str:
    """Return the name of a detector in tables."""
    return "own" if detector == OWN_SCORE else detector


def hyperparameters(run: Result, detector: str) -> dict[str, str]:
    """Return {key: printed value} of a detector with which a run was scored; {} where it has none."""
    return flatten(json.loads(run.scored_by.get(detector, "{}")))


def described(runs: Sequence[Result], detector: str) -> str:
    """Return the name of a detector, with what it is or the hyperparameters that all runs share."""
    if detector in SCORES:
        return f"{shown(detector)} ({SCORES[detector]})"
    return shown(detector) + in_brackets(_shared_hyperparameters(runs, detector))


def _shared_hyperparameters(runs: Sequence[Result], detector: str) -> dict[str, str]:
    of = [hyperparameters(run, detector) for run in runs if detector in run.scored_by]
    return without_keys(differing(of), "", of[0]) if of else {}


def all_hyperparameters(runs: Sequence[Result], detectors: Sequence[str]) -> list[str]:
    """List the hyperparameters of detectors on which all runs agree; the caveats have the others."""
    found = {detector: _shared_hyperparameters(runs, detector) for detector in detectors}
    each = [f"{shown(detector)} {settings_text(settings)}" for detector, settings in found.items() if settings]
    return [f"Hyperparameters of the scores, in every table of this protocol: {'; '.join(each)}."] * bool(each)
