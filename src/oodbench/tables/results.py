"""Finished runs, read from their folders and checked. Shares in [0, 1]."""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.runs.folder import Run
from oodbench.storage import Arrays, load_arrays, read_json

PATTERN = "runs/*/*/*/*/seed*"  # dataset, backbone, loss, recipe with hash
VERSIONS = ("own", "normalised", "temperature_scaled")  # of the probabilities
FILES = ("metrics.json", "config.yaml", "resamples.safetensors")
LARGEST_CONFIG = 10_000  # nodes of a configuration, aliases expanded; a real one has about 100
Key = tuple[str, str, str]  # (OOD set, detector, metric); the first two are "" for a metric of ID_METRICS
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


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Turn an error in a file's content into a ValueError with the file's name."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


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
    _check_size(config)
    names = {part: checked_name(part, config["name"][part]) for part in ("dataset", "backbone", "loss", "recipe")}
    _check_folder(folder, config)
    return {
        **names,
        "hash": folder.parent.name.rpartition("-")[2],
        "loss_class": str(config["loss"].get("_target_", "")).rpartition(".")[2],
        **{f"{part}_settings": flatten(config[part]) for part in ("backbone", "loss", "recipe")},
        "seed": _whole(config["seed"], "seed"),
        "epochs": _whole_or_none(config["recipe"]["epochs"], "recipe.epochs"),
        "train_limit": _whole_or_none(config["dataset"]["limit"], "dataset.limit"),
        "test_limit": _whole_or_none(config["dataset"]["limit_test"], "dataset.limit_test"),
        "held_out": _whole(config.get("validation", {}).get("images", 0), "validation.images"),
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
        "train_images": _whole(images["train"], "images of train"),
        "scored_by": {name: json.dumps(how, sort_keys=True) for name, how in provenance.get("detector", {}).items()},
        "test_images": _whole(images["test"], "images of test"),
        "ood_images": {checked_name("OOD set", ood): _whole(images[ood], f"images of {ood}") for ood in metrics["ood"]},
        "numbers": _numbers(metrics),
        "intervals": _intervals(metrics),
        "calibration": _calibration(metrics.get("calibration", {})),
        "digests": {name: str(digest) for name, digest in provenance.get("digests", {}).items()},
        "not_applicable": {
            checked_name("detector", name): str(reason) for name, reason in metrics.get("not_applicable", {}).items()
        },
    }


def _numbers(metrics: Mapping[str, Any]) -> dict[Key, float]:
    """Every number of a metric that there is a record of; a metric may be newer than the run."""
    numbers = {("", "", metric): _number(metrics[metric], metric) for metric in ID_METRICS if metric in metrics}
    for ood, detectors in metrics["ood"].items():
        for detector, values in detectors.items():
            checked_name("detector", detector)
            for metric in OOD_METRICS.keys() & values.keys():
                numbers[ood, detector, metric] = _number(values[metric], f"{metric} of {detector} on {ood}")
    return numbers


def _intervals(metrics: Mapping[str, Any]) -> dict[Key, Interval]:
    """-> the intervals of the numbers that have one"""
    intervals = metrics.get("intervals", {})
    pairs = {("", "", metric): intervals[metric] for metric in ID_METRICS if metric in intervals}
    for ood, detectors in intervals.get("ood", {}).items():
        for detector, values in detectors.items():
            pairs |= {(ood, detector, metric): values[metric] for metric in OOD_METRICS if metric in values}
    what = {key: "interval of " + " ".join(filter(None, key)) for key in pairs}
    return {key: (_number(low, what[key]), _number(high, what[key])) for key, (low, high) in pairs.items()}


def _calibration(versions: Mapping[str, Any]) -> dict[str, dict[str, Any] | None]:
    """{version of the probabilities: its numbers, None where it has none}"""
    found: dict[str, dict[str, Any] | None] = {}
    for version in VERSIONS:
        if version in versions:
            values = versions[version]
            numbers = values and {m: _number(values[m], f"{version} {m}") for m in CALIBRATION_METRICS if m in values}
            temperatures = [_number(t, "temperature") for t in (values or {}).get("temperatures", [])]
            found[version] = numbers and numbers | ({"temperatures": temperatures} if temperatures else {})
    return found


def _resampled(folder: Path, checksum: Any, keep: Keep) -> Arrays:
    """The resamples that belong to the metrics.json with this checksum. ValueError names the file that is damaged."""
    file = folder / "resamples.safetensors"
    if checksum is None or not file.exists():
        return {}
    arrays, about = load_arrays(file)
    if about.get("seal") != checksum:
        return {}
    return {key: values for key, values in arrays.items() if keep(*["", *key.split("/")][-2:])}


def checked_name(what: str, name: Any) -> str:
    """A name that may become part of a path and a cell of runs.csv.

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
            flat[prefix[:-1]] = value.rpartition(".")[2]
        elif not key.startswith("_"):
            flat[prefix + key] = _text(value)
    return flat


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"  # 1.0 in a file and 1 on the command line are one setting
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise ValueError(f"{what} is {value!r}, not a number")
    return float(value)


def _whole(value: Any, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} is {value!r}, not a whole number")
    return value


def _whole_or_none(value: Any, what: str) -> int | None:
    return None if value is None else _whole(value, what)


def _check_size(config: Any) -> None:
    """Raise ValueError for a configuration that aliases blow up: a few lines of them can stand for 10^9 nodes."""
    nodes, waiting = 0, [config]
    while waiting:
        node = waiting.pop()
        nodes += 1
        if nodes > LARGEST_CONFIG:
            raise ValueError(f"it has more than {LARGEST_CONFIG:,} nodes")
        waiting += node.values() if isinstance(node, dict) else node if isinstance(node, list) else []
