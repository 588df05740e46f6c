"""Run folders, read and checked. Shares in [0, 1]."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import yaml

from oodbench.evaluation.bootstrap import Interval
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.evaluation.significance import over_seeds
from oodbench.runs.folder import open_run
from oodbench.storage import Arrays, read_json

OF_A_RUN = ID_METRICS
OF_A_DETECTOR = tuple(OOD_METRICS)
FIELDS = ["dataset", "backbone", "loss", "recipe", "hash", "seed", "epochs", "train_limit", "test_limit"]
FIELDS += ["ood", "detector", "metric", "value", "low", "high"]
FIELDS += ["seeds", "mean", "deviation", "mean_low", "mean_high"]


Key = tuple[str, str, str]  # (OOD set, detector, metric); the first two are "" for OF_A_RUN


class Result(NamedTuple):
    """A finished run. `backbone`, `loss`, `recipe` are names; their `_settings` are {dotted key: printed value}."""

    folder: Path
    dataset: str
    backbone: str
    loss: str
    recipe: str
    backbone_settings: dict[str, str]
    loss_settings: dict[str, str]
    recipe_settings: dict[str, str]
    hash: str
    seed: int
    epochs: int | None  # None: trained elsewhere, for how long is not known
    precision: str
    train_limit: int | None
    test_limit: int | None
    train_images: int
    held_out: int  # training images that were not trained on, to choose hyperparameters by
    scored_by: dict[str, str]  # {detector: its configuration}
    test_images: int
    ood_images: dict[str, int]
    near: frozenset[str]
    note: str
    numbers: dict[Key, float]
    intervals: dict[Key, Interval]  # 95 %, over the images; of older runs none
    calibration: dict[str, dict[str, Any] | None]  # as oodbench.evaluation.calibration gives it; of older runs {}
    digests: dict[str, str]  # {"test" or OOD set: of its images}
    settings: dict[str, str]  # {dotted key of the whole configuration: printed value}
    not_applicable: dict[str, str]  # {detector: why it has no numbers}

    @property
    def detectors(self) -> set[str]:
        return {detector for _, detector, _ in self.numbers if detector} | self.not_applicable.keys()


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """An error in a file's content names the file; a run skipped silently would be a gap in a table."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """{"optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1}} -> {"optimizer": "SGD", "optimizer.lr": "0.1"}"""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key == "_target_" and prefix:
            flat[prefix[:-1]] = value.rpartition(".")[2]
        elif not key.startswith("_"):
            flat[prefix + key] = _text(value)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"  # 1.0 in a file and 1 on the command line are one setting
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{what} is {value!r}, not a number")
    return float(value)


def _numbers(metrics: Mapping[str, Any]) -> dict[Key, float]:
    numbers = {("", "", metric): _number(metrics[metric], metric) for metric in OF_A_RUN}
    for ood, detectors in metrics["ood"].items():
        for detector, values in detectors.items():
            for metric in OF_A_DETECTOR:
                numbers[ood, detector, metric] = _number(values[metric], f"{metric} of {detector} on {ood}")
    return numbers


def _intervals(metrics: Mapping[str, Any]) -> dict[Key, Interval]:
    """Of the numbers that have one."""
    intervals = metrics.get("intervals", {})
    pairs = {("", "", metric): intervals[metric] for metric in OF_A_RUN if metric in intervals}
    for ood, detectors in intervals.get("ood", {}).items():
        for detector, values in detectors.items():
            pairs |= {(ood, detector, metric): values[metric] for metric in OF_A_DETECTOR if metric in values}
    what = {key: "interval of " + " ".join(filter(None, key)) for key in pairs}
    return {key: (_number(low, what[key]), _number(high, what[key])) for key, (low, high) in pairs.items()}


def resamples(folder: Path) -> Arrays:
    """{"accuracy" or "<ood set>/<detector>/<metric>": (R,)} of a run; {} where metrics.json has none that belong to it.

    Raises ValueError naming the file that is damaged.
    """
    run, _ = open_run(folder)
    record = run.read_record()
    return run.read_resamples(record) if record else {}


def load_run(folder: Path) -> Result:
    """The finished run in a folder. ValueError names the file that does not parse or lacks a key."""
    with errors_name(folder / "metrics.json"):
        metrics = read_json(folder / "metrics.json")
        provenance, images = metrics["provenance"], metrics["provenance"]["images"]
        measured = {
            "hash": metrics["config_hash"],
            "precision": provenance["precision"],
            "train_images": images["train"],
            "scored_by": {
                name: json.dumps(how, sort_keys=True) for name, how in provenance.get("detector", {}).items()
            },
            "test_images": images["test"],
            "ood_images": {ood: images[ood] for ood in metrics["ood"]},
            "numbers": _numbers(metrics),
            "intervals": _intervals(metrics),
            "calibration": metrics.get("calibration", {}),
            "digests": provenance.get("digests", {}),
            "not_applicable": metrics.get("not_applicable", {}),
        }
    with errors_name(folder / "config.yaml"):
        _, config = open_run(folder)
        names: dict[str, Any] = {part: config["name"][part] for part in ("dataset", "backbone", "loss", "recipe")}
        return Result(
            folder=folder,
            **names,
            backbone_settings=flatten(config["backbone"]),
            loss_settings=flatten(config["loss"]),
            recipe_settings=flatten(config["recipe"]),
            seed=config["seed"],
            epochs=config["recipe"]["epochs"],
            train_limit=config["dataset"]["limit"],
            test_limit=config["dataset"]["limit_test"],
            held_out=config.get("validation", {}).get("images", 0),
            near=frozenset(provenance.get("near", config["dataset"]["near"])),  # the numbers are sealed
            note=config.get("note") or "",
            settings=flatten(config) | names,
            **measured,
        )


def _check_detectors(runs: Iterable[Result]) -> None:
    """Raise ValueError where seeds of one configuration were scored by one detector set in two ways.

    Values that were selected on each seed's own held-out images may differ.
    """
    first: dict[tuple[str, str], Result] = {}
    for run in runs:
        for name, how in run.scored_by.items():
            twin = first.setdefault((run.hash, name), run)
            if how != twin.scored_by[name] and not name.endswith("_selected"):
                raise ValueError(
                    f"{twin.folder} was scored with {name} {twin.scored_by[name]} and {run.folder} with {how}; "
                    f"score them alike: python scripts/evaluate.py {run.folder.parent} detector=[{name}]"
                )


def load_runs(results_dir: Path) -> tuple[list[Result], int]:
    """All finished runs, and how many are unfinished (no metrics.json, which is written last).

    FileNotFoundError where no run is finished; ValueError for a finished run that cannot be read, or whose detectors
    are set otherwise than another seed's.
    """
    pattern = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
    folders = [folder for folder in results_dir.glob(pattern) if folder.is_dir()]
    runs = [load_run(folder) for folder in sorted(folders) if (folder / "metrics.json").exists()]
    if not runs:
        raise FileNotFoundError(
            f"no finished run: of {len(folders)} folders {results_dir / pattern} none has a metrics.json"
        )
    runs.sort(key=lambda run: (run.folder.parent, run.seed))
    _check_detectors(runs)
    return runs, len(folders) - len(runs)


def long_format(runs: Iterable[Result]) -> pd.DataFrame:
    """FIELDS: one row a number of one run, with its 95 % interval over images (low, high), and, the same in every row
    of a configuration, mean, sample deviation and 95 % t-interval (mean_low, mean_high) over its seeds.
    """
    rows: list[tuple[Any, dict[str, Any]]] = []
    over: dict[Any, dict[int, float]] = defaultdict(dict)  # by seed
    for run in runs:
        for (ood, detector, metric), value in run.numbers.items():
            low, high = run.intervals.get((ood, detector, metric), (None, None))
            row = {field: getattr(run, field) for field in FIELDS[: FIELDS.index("ood")]}
            row |= {"ood": ood, "detector": detector, "metric": metric, "value": value, "low": low, "high": high}
            group = (run.hash, ood, run.ood_images.get(ood), detector, metric)  # sets of one name differ in size
            over[group][run.seed] = value
            rows.append((group, row))
    spreads = {group: over_seeds(np.array(list(values.values()))) for group, values in over.items()}
    for group, row in rows:
        mean, deviation, n, interval = spreads[group]
        low, high = interval or (None, None)
        row |= {"seeds": n, "mean": mean, "deviation": deviation, "mean_low": low, "mean_high": high}
    frame = pd.DataFrame([row for _, row in rows], columns=FIELDS)
    return frame.astype({"epochs": "Int64", "train_limit": "Int64", "test_limit": "Int64"})
