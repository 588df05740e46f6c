"""Values in a run's files, checked where they are read."""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePath
from sys import intern
from typing import Any

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.runs.reduced import DECIMALS

# versions of the probabilities: {name in tables: key in metrics.json}
VERSIONS = {"predictive": "own", "normalised": "normalised", "temperature-scaled": "temperature_scaled"}
PLACES = ("root", "path", "digest", "images")  # keys of a set: where it lies; its number of images is counted
USUAL = (("split", "test"), ("exclude_classes", "[]"))
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


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}} -> {"optimizer": "SGD", "optimizer.lr": "0.1"}"""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key == "_target_" and prefix:
            flat[intern(prefix[:-1])] = intern(value.rpartition(".")[2])
        elif not key.startswith("_"):
            flat[intern(prefix + key)] = intern(printed(value))  # thousands of runs share nearly all of them
    return flat


def set_settings(configured: Any) -> dict[str, str]:
    """Return the settings of an OOD set, such as its corruption, without its places and what holds of all sets."""
    known = flatten(configured) if isinstance(configured, Mapping) else {}
    return {key: value for key, value in known.items() if key not in PLACES and (key, value) not in USUAL}


def held_out_settings(of: Mapping[str, Any]) -> dict[str, str]:
    """Return the number of held-out images, the OOD set beside them and its settings; of a file its name."""
    known = flatten(of)
    if "images" not in known:
        return {}
    files = {f"ood.{key}": PurePath(known[f"ood.{key}"]).name for key in ("path", "list") if f"ood.{key}" in known}
    settings = {f"ood.{key}": value for key, value in set_settings(of["ood"]).items()}
    return {"images": known["images"], **({"ood": known["ood"]} if "ood" in known else {}), **files, **settings}


def printed(value: Any) -> str:
    """Format a value of a configuration so that equal settings are equal texts."""
    if isinstance(value, float):
        return f"{value:.10g}"  # 1.0 in a file and 1 on the command line are one setting
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)


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
