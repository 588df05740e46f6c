"""Values in a run's files, checked where they are read."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.runs.reduced import DECIMALS

# versions of the probabilities: {name in tables: key in metrics.json}
VERSIONS = {"predictive": "own", "normalised": "normalised", "temperature-scaled": "temperature_scaled"}
Key = tuple[str, str, str]  # (OOD set, detector, metric); the first two are "" for a metric of ID_METRICS


@lru_cache(maxsize=10_000)
def shared(*key: str) -> Key:
    """Return the key as one object, however many runs have it."""
    return key  # type: ignore[return-value]


def safe_name(what: str, name: Any) -> str:
    """Return a name that may become part of a path and a cell of runs.csv.

    Raises ValueError for one that could lead out of a folder (../x), or that a spreadsheet takes for a formula (=x).
    """
    good = isinstance(name, str) and name.isprintable() and (name[:1].isalnum() or name[:1] == "_")
    if not good or set(name) & set("/\\"):
        raise ValueError(f"{what} {name!r}: a name begins with a letter, a digit or _, and has no / and no \\")
    return name


def number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{what} is {value!r}, not a number")
    return float(value)


def whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:  # a column of 64 bits
        raise ValueError(f"{what} is {value!r}, not a whole number")
    return value


def whole_or_none(value: Any, what: str) -> int | None:
    return None if value is None else whole(value, what)


def numbers(metrics: Mapping[str, Any]) -> dict[Key, float]:
    """Return every number of metrics.json whose metric has a record; a metric may be newer than the run."""
    found = {("", "", metric): number(metrics[metric], metric) for metric in ID_METRICS if metric in metrics}
    for ood, detectors in metrics["ood"].items():
        for detector, values in detectors.items():
            safe_name("detector", detector)
            for metric in OOD_METRICS:
                if metric in values:
                    found[shared(ood, detector, metric)] = number(values[metric], f"{metric} of {detector} on {ood}")
    return found


def intervals(metrics: Mapping[str, Any]) -> dict[Key, Interval]:
    """Return the intervals of the numbers that have one, rounded as in a published run."""
    ends = metrics.get("intervals", {})
    pairs = {("", "", metric): ends[metric] for metric in ID_METRICS if metric in ends}
    for ood, detectors in ends.get("ood", {}).items():
        for detector, values in detectors.items():
            pairs |= {shared(ood, detector, metric): values[metric] for metric in OOD_METRICS if metric in values}

    def end(value: Any, key: Key) -> float:
        is_usual = type(value) is float and not math.isnan(value)  # of a hundred a run: no words where none are needed
        return round(value if is_usual else number(value, f"interval of {' '.join(filter(None, key))}"), DECIMALS)

    return {key: (end(low, key), end(high, key)) for key, (low, high) in pairs.items()}


def calibration(versions: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return {name of VERSIONS: its numbers, None where it has none} of the block `calibration` of metrics.json."""
    found: dict[str, dict[str, Any] | None] = {}
    for version, key in VERSIONS.items():
        if key in versions:
            values = versions[key]
            known = values and {m: number(values[m], f"{version} {m}") for m in CALIBRATION_METRICS if m in values}
            temperatures = [number(t, "temperature") for t in (values or {}).get("temperatures", [])]
            found[version] = known and known | ({"temperatures": temperatures} if temperatures else {})
    return found
