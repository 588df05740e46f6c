"""Finished runs, read from their folders and checked. Shares in [0, 1]."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.runs.folder import Run
from oodbench.storage import Arrays, load_arrays, read_json
from oodbench.tables.fields import (
    Key,
    calibration,
    check_size,
    checked_name,
    errors_name,
    flatten,
    intervals,
    numbers,
    whole,
    whole_or_none,
)

PATTERN = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
FILES = ("metrics.json", "config.yaml", "resamples.safetensors")
Keep = Callable[[str, str], bool]  # detector, metric; the former is "" for a metric of ID_METRICS
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes an eighth of the time


class Result(NamedTuple):
    """A finished run. `backbone`, `loss`, `recipe` are names; their `_settings` are {dotted key: printed value}."""

    folder: Path
    dataset: str
    backbone: str
    loss: str
    recipe: str
    loss_class: str  # of oodbench.losses
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
    resampled: Arrays  # {see `arrays_key`: (R,)}; {} where there are none that belong to the numbers

    @property
    def detectors(self) -> set[str]:
        return {detector for _, detector, _ in self.numbers if detector} | self.not_applicable.keys()


class Unreadable(NamedTuple):
    """A finished run that no table has, and the reason."""

    folder: Path
    reason: str


class Found(NamedTuple):
    """The runs of a results folder; `unfinished`: how many have no metrics.json, which is written last."""

    runs: list[Result]
    unfinished: int
    unreadable: list[Unreadable]


def load_runs(results_dir: Path, detectors: Collection[str] | None = None) -> Found:
    """All finished runs, sorted by folder and seed, and those that cannot be read, with the reason.

    detectors: those whose resamples are kept, None for all; of the metrics that tables show. Raises FileNotFoundError
    where no run is finished, ValueError where none of the finished ones can be read.
    """

    def keep(detector: str, metric: str) -> bool:
        is_shown = metric not in OOD_METRICS or OOD_METRICS[metric].in_tables
        return is_shown and (not detector or detectors is None or detector in detectors)

    folders = sorted(folder for folder in results_dir.glob(PATTERN) if folder.is_dir())
    finished = [folder for folder in folders if (folder / "metrics.json").exists()]
    runs: list[Result] = []
    unreadable: list[Unreadable] = []
    for folder in finished:
        try:
            runs.append(load_run(folder, keep))
        except ValueError as error:
            unreadable.append(Unreadable(folder, str(error)))
    runs.sort(key=lambda run: (run.folder.parent, run.seed))
    runs, unlike = _scored_alike(runs)
    unreadable += unlike
    if not finished:
        raise FileNotFoundError(
            f"no finished run: none of {len(folders)} folders {results_dir / PATTERN} has a metrics.json"
        )
    if not runs:
        raise ValueError(f"none of {len(finished)} finished runs can be read: {unreadable[0].reason}")
    return Found(runs, len(folders) - len(finished), unreadable)


def _scored_alike(runs: Iterable[Result]) -> tuple[list[Result], list[Unreadable]]:
    """Leave out the runs in which a detector is configured otherwise than in another seed of the same configuration.

    Hyperparameters that were selected on each seed's own held-out images may differ.
    """
    first: dict[tuple[Path, str], Result] = {}
    alike: list[Result] = []
    others: list[Unreadable] = []
    for run in runs:
        twins = {name: first.setdefault((run.folder.parent, name), run) for name in run.scored_by}
        unlike = [
            f"{run.folder} was scored with {name} {run.scored_by[name]} and {twin.folder} with {twin.scored_by[name]}; "
            f"score them alike: python scripts/evaluate.py {run.folder.parent} detector=[{name}]"
            for name, twin in twins.items()
            if run.scored_by[name] != twin.scored_by[name] and not name.endswith("_selected")
        ]
        if unlike:
            others.append(Unreadable(run.folder, unlike[0]))
        else:
            alike.append(run)
    return alike, others


def load_run(folder: Path, keep: Keep = lambda detector, metric: True) -> Result:
    """The finished run in a folder, with the resamples that `keep` wants in memory.

    ValueError names the file that does not parse, lacks a key or is of another run.
    """
    for file in FILES:
        if (folder / file).exists() and not (folder / file).is_file():
            raise ValueError(f"{folder / file} is no regular file")
    with errors_name(folder / "config.yaml"):
        configured = _configured(folder)
    with errors_name(folder / "metrics.json"):
        metrics = read_json(folder / "metrics.json")
        if metrics["config_hash"] != configured["hash"]:
            raise ValueError(f"it is of the configuration {metrics['config_hash']}, the folder is {configured['hash']}")
        measured = _measured(metrics)
    resampled = _resampled(folder, metrics.get("resamples"), keep)
    return Result(folder=folder, **(configured | measured), resampled=resampled)


def _configured(folder: Path) -> dict[str, Any]:
    """-> the fields of `Result` that config.yaml has"""
    config = yaml.load((folder / "config.yaml").read_text("utf-8"), Loader)
    check_size(config)
    names = {part: checked_name(part, config["name"][part]) for part in ("dataset", "backbone", "loss", "recipe")}
    _check_folder(folder, config)
    return {
        **names,
        "hash": folder.parent.name.rpartition("-")[2],
        "loss_class": str(config["loss"].get("_target_", "")).rpartition(".")[2],
        **{f"{part}_settings": flatten(config[part]) for part in ("backbone", "loss", "recipe")},
        "seed": whole(config["seed"], "seed"),
        "epochs": whole_or_none(config["recipe"]["epochs"], "recipe.epochs"),
        "train_limit": whole_or_none(config["dataset"]["limit"], "dataset.limit"),
        "test_limit": whole_or_none(config["dataset"]["limit_test"], "dataset.limit_test"),
        "held_out": whole(config.get("validation", {}).get("images", 0), "validation.images"),
        "near": frozenset(map(str, config["dataset"]["near"])),
        "note": " ".join(str(config.get("note") or "").split()),
        "settings": flatten(config) | names,
    }


def _check_folder(folder: Path, config: Any) -> None:
    """Raise ValueError where the folder is not the one that belongs to the configuration."""
    expected = Run(config | {"weights": None}).folder  # without a look at files that the configuration names
    if expected.parts[-5:] != folder.parts[-5:]:
        raise ValueError(f"it is the configuration of {expected}")


def _measured(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """-> the fields of `Result` that metrics.json has"""
    provenance, images = metrics["provenance"], metrics["provenance"]["images"]
    near = {"near": frozenset(map(str, provenance["near"]))} if "near" in provenance else {}  # of what was measured
    return near | {
        "precision": str(provenance["precision"]),
        "train_images": whole(images["train"], "images of train"),
        "scored_by": {name: json.dumps(how, sort_keys=True) for name, how in provenance.get("detector", {}).items()},
        "test_images": whole(images["test"], "images of test"),
        "ood_images": {checked_name("OOD set", ood): whole(images[ood], f"images of {ood}") for ood in metrics["ood"]},
        "numbers": numbers(metrics),
        "intervals": intervals(metrics),
        "calibration": calibration(metrics.get("calibration", {})),
        "digests": {name: str(digest) for name, digest in provenance.get("digests", {}).items()},
        "not_applicable": {
            checked_name("detector", name): str(reason) for name, reason in metrics.get("not_applicable", {}).items()
        },
    }


def _resampled(folder: Path, checksum: Any, keep: Keep) -> Arrays:
    """The resamples that belong to the metrics.json with this checksum. ValueError names the file that is damaged."""
    file = folder / "resamples.safetensors"
    if checksum is None or not file.exists():
        return {}
    arrays, about = load_arrays(file)
    if about.get("seal") != checksum:
        return {}
    return {key: values for key, values in arrays.items() if keep(*["", *key.split("/")][-2:])}
