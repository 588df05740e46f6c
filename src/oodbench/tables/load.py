"""Run folders and the file of published rows, read and checked. Shares in [0, 1]."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import yaml

from oodbench.metrics import OOD_METRICS
from oodbench.runs import Run, read_sealed

OF_A_RUN = ("accuracy", "ece", "nll", "brier")
OF_A_DETECTOR = tuple(OOD_METRICS)
FIELDS = ["dataset", "backbone", "loss", "recipe", "hash", "seed", "epochs", "train_limit", "test_limit"]
FIELDS += ["ood", "detector", "metric", "value"]


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
    test_images: int
    ood_images: dict[str, int]
    near: frozenset[str]
    note: str
    numbers: dict[tuple[str, str, str], float]  # (ood set, detector, metric); the first two are "" for OF_A_RUN
    not_applicable: dict[str, str]  # {detector: why it has no numbers}

    @property
    def detectors(self) -> set[str]:
        return {detector for _, detector, _ in self.numbers if detector} | self.not_applicable.keys()


class Published(NamedTuple):
    """A row of somebody else's table. `numbers` is {"accuracy", "ece" or "<ood set>.<metric>": share}."""

    dataset: str
    loss: str
    backbone: str
    near: frozenset[str]
    source: str
    protocol: str
    note: str
    numbers: dict[str, float]


@contextmanager
def _blame(path: Path) -> Iterator[None]:
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


def _numbers(metrics: Mapping[str, Any]) -> dict[tuple[str, str, str], float]:
    numbers = {("", "", metric): _number(metrics[metric], metric) for metric in OF_A_RUN}
    for ood, detectors in metrics["ood"].items():
        for detector, values in detectors.items():
            for metric in OF_A_DETECTOR:
                numbers[ood, detector, metric] = _number(values[metric], f"{metric} of {detector} on {ood}")
    return numbers


def load_run(folder: Path) -> Result:
    """The finished run in a folder. ValueError names the file that does not parse or lacks a key."""
    with _blame(folder / "metrics.json"):
        metrics = read_sealed(folder / "metrics.json")
        provenance, images = metrics["provenance"], metrics["provenance"]["images"]
        measured = {
            "hash": metrics["config_hash"],
            "precision": provenance["precision"],
            "train_images": images["train"],
            "test_images": images["test"],
            "ood_images": {ood: images[ood] for ood in metrics["ood"]},
            "numbers": _numbers(metrics),
            "not_applicable": metrics.get("not_applicable", {}),
        }
    with _blame(folder / "config.yaml"):
        config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
        if Run(config).folder.parts[-5:] != folder.parts[-5:]:
            raise ValueError(f"it is the configuration of {Run(config).folder}")
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
            near=frozenset(config["dataset"]["near"]),
            note=config.get("note") or "",
            **measured,
        )


def load_runs(results_dir: Path) -> tuple[list[Result], int]:
    """All finished runs, and how many are unfinished (no metrics.json, which is written last).

    FileNotFoundError where no run is finished; ValueError for a finished run that cannot be read.
    """
    pattern = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
    folders = [folder for folder in results_dir.glob(pattern) if folder.is_dir()]
    runs = [load_run(folder) for folder in sorted(folders) if (folder / "metrics.json").exists()]
    if not runs:
        raise FileNotFoundError(
            f"no finished run: of {len(folders)} folders {results_dir / pattern} none has a metrics.json"
        )
    runs.sort(key=lambda run: (run.folder.parent, run.seed))
    return runs, len(folders) - len(runs)


def load_published(path: Path) -> list[Published]:
    """Rows of a CSV: the fields of `Published` (near: names with spaces between); other columns are shares or empty."""
    with _blame(path), path.open(encoding="utf-8", newline="") as file:
        return [
            Published(
                near=frozenset(row.pop("near").split()),
                **{field: row.pop(field) for field in ("dataset", "loss", "backbone", "source", "protocol", "note")},
                numbers={column: float(value) for column, value in row.items() if value},
            )
            for row in csv.DictReader(file)
        ]


def long_format(runs: Iterable[Result]) -> pd.DataFrame:
    """FIELDS, and what tells OOD sets of one name apart (near, images): one row a number of one run."""
    rows = []
    for run in runs:
        for (ood, detector, metric), value in run.numbers.items():
            row = {field: getattr(run, field) for field in FIELDS[:-4]}
            row |= {"ood": ood, "detector": detector, "metric": metric, "value": value}
            rows.append(row | {"near": ood in run.near, "images": run.ood_images.get(ood, 0)})
    return pd.DataFrame(rows).astype({"epochs": "Int64", "train_limit": "Int64", "test_limit": "Int64"})
