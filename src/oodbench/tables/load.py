"""Finished runs of a results folder, read and checked."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from oodbench.evaluation.metric import key_of
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.runs.folder import open_run
from oodbench.runs.identity import Config
from oodbench.runs.paths import GLOB, METRICS, is_finished, run_folders
from oodbench.runs.record import SELECTED, needs_images
from oodbench.runs.reduced import Resampled, Rounded
from oodbench.storage import errors_name
from oodbench.tables.fields import calibration, intervals, numbers, safe_name, whole, whole_or_none
from oodbench.tables.kinds import is_shifted
from oodbench.tables.results import Found, Result, Unreadable
from oodbench.tables.settings import flatten, held_out_settings, set_settings

Keep = Callable[[str, str], bool]  # detector, metric; the former is "" for a metric of ID_METRICS


def load_runs(results_dir: Path, detectors: Collection[str] | None = None) -> Found:
    """Return all finished runs, sorted by folder and seed, and those that cannot be read, with the reason.

    detectors: those whose resamples are kept, of the metrics that tables show; None for all. A run that has none of
    them keeps all. Raises FileNotFoundError where no run is finished, ValueError where no finished one can be read.
    """
    keep = partial(needs_resamples, detectors)
    folders = run_folders(results_dir)
    finished = list(filter(is_finished, folders))
    runs: list[Result] = []
    unreadable: list[Unreadable] = []
    for folder in finished:
        try:
            run = load_run(folder, keep)
            has_none = detectors is not None and run.detectors.isdisjoint(detectors)  # tables may show those it has
            runs.append(load_run(folder) if has_none else run)
        except ValueError as error:
            unreadable.append(Unreadable(folder, str(error)))
    runs.sort(key=lambda run: (run.folder.parent, run.seed))
    runs, unlike = scored_alike(runs)
    unreadable += unlike
    if not finished:
        raise FileNotFoundError(f"no finished run: none of {len(folders)} folders {results_dir / GLOB} has a {METRICS}")
    if not runs:
        raise ValueError(f"none of {len(finished)} finished runs can be read: {unreadable[0].reason}")
    return Found(runs, len(folders) - len(finished), unreadable)


def merged(several: Iterable[Found]) -> Found:
    """Return the runs of several results folders as those of one. Raises ValueError where two have the same run."""
    several = list(several)
    runs = sorted((run for found in several for run in found.runs), key=lambda run: run.place)
    for run, other in pairwise(runs):
        if run.place == other.place:
            raise ValueError(f"{run.folder} and {other.folder} are the same run; name one of the two folders alone")
    runs, unlike = scored_alike(runs)
    unreadable = [each for found in several for each in found.unreadable]
    return Found(runs, sum(found.unfinished for found in several), [*unreadable, *unlike])


def needs_resamples(detectors: Collection[str] | None, detector: str, metric: str) -> bool:
    """Tell whether tables of these detectors (None: of all) have a number, so that they need its resamples."""
    in_tables = metric not in OOD_METRICS or OOD_METRICS[metric].in_tables
    return in_tables and (not detector or detectors is None or detector in detectors)


def scored_alike(runs: Iterable[Result]) -> tuple[list[Result], list[Unreadable]]:
    """Leave out the runs in which a detector is configured otherwise than in another seed of the same configuration.

    Hyperparameters that were selected on each seed's own held-out images may differ.
    """
    first: dict[tuple[Path, str], Result] = {}
    alike: list[Result] = []
    others: list[Unreadable] = []
    for run in runs:
        places = {name: (run.place.parent, name) for name in run.scored_by}
        twins = {name: first[place] for name, place in places.items() if place in first}
        unlike = [
            f"{run.folder} was scored with {name} {run.scored_by[name]} and {twin.folder} with {twin.scored_by[name]}; "
            f"score them alike: python scripts/evaluate.py {run.folder.parent} detector=[{name}]"
            for name, twin in twins.items()
            if run.scored_by[name] != twin.scored_by[name] and not name.endswith(SELECTED)
        ]
        if unlike:
            others.append(Unreadable(run.folder, unlike[0]))
        else:
            alike.append(run)
            first |= {place: run for place in places.values() if place not in first}
    return alike, others


def load_run(folder: Path, keep: Keep = lambda detector, metric: True) -> Result:
    """Return the finished run in a folder, with the resamples that `keep` wants in memory.

    Raises ValueError, which names the file that does not parse, lacks a key or is of another run.
    """
    with errors_name(folder / "config.yaml"):
        run, config = open_run(folder)
        configured = _configured(config)
    with errors_name(folder / METRICS):
        record = run.read_record()
        measured = _measured(record, config) | {"settings": configured["settings"] | _detector_settings(record)}
    resamples = run.read_resamples(record)
    with errors_name(folder / "resamples"):
        kept = {key: each for key, each in resamples.items() if keep(*key_of(key)[1:])}
        resampled: dict[str, Resampled] = {key: Rounded(each) for key, each in kept.items()}
    return Result(folder=folder, hash=run.run.hash, **(configured | measured), resampled=resampled)


def _detector_settings(record: Mapping[str, Any]) -> dict[str, str]:
    """Return {dotted key: printed value} of the detectors that a run was scored with, also in later starts."""
    found: dict[str, str] = {}
    for name, how in record["provenance"].get("detector", {}).items():
        found |= flatten(how, f"{'image_detector' if needs_images(how) else 'detector'}.{name}.")
    return found


def _configured(config: Config) -> dict[str, Any]:
    """Return the fields of `Result` that config.yaml has."""
    names = {part: safe_name(part, config["name"][part]) for part in ("dataset", "backbone", "loss", "recipe")}
    return {
        **names,
        "loss_class": str(config["loss"].get("_target_", "")).rpartition(".")[2],
        "seed": whole(config["seed"], "seed"),
        "epochs": whole_or_none(config["recipe"]["epochs"], "recipe.epochs"),
        "train_limit": whole_or_none(config["dataset"]["limit"], "dataset.limit"),
        "test_limit": whole_or_none(config["dataset"]["limit_test"], "dataset.limit_test"),
        "held_out": whole(config.get("validation", {}).get("images", 0), "validation.images"),
        "near": frozenset(map(str, config["dataset"]["near"])),
        "note": " ".join(str(config.get("note") or "").split()),
        "settings": flatten(config) | names,
    }


def _measured(metrics: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Return the fields of `Result` that metrics.json has."""
    test = config["dataset"].get("test")  # outputs of other code have none
    provenance, images = metrics["provenance"], metrics["provenance"]["images"]
    scored = [ood for ood, of in metrics["ood"].items() if of]  # a later start may have left none of a set's numbers
    near = {"near": frozenset(map(str, provenance["near"]))} if "near" in provenance else {}  # of what was measured
    return near | {
        "weights": str(metrics.get("weights", "")),
        "precision": str(provenance["precision"]),
        "shifted": frozenset(ood for ood, how in provenance.get("ood", {}).items() if is_shifted(how, test))
        | frozenset(map(str, config["dataset"].get("shifted", []))),  # of outputs of other code
        "train_images": whole(images["train"], "images of train"),
        "scored_by": {name: json.dumps(how, sort_keys=True) for name, how in provenance.get("detector", {}).items()},
        "test_images": whole(images["test"], "images of test"),
        "ood_images": {safe_name("OOD set", ood): whole(images[ood], f"images of {ood}") for ood in scored},
        "numbers": numbers(metrics),
        "intervals": intervals(metrics),
        "calibration": calibration(metrics.get("calibration", {})),
        "digests": {name: str(digest) for name, digest in provenance.get("digests", {}).items()},
        "code": {part: str(digest) for part, digest in provenance.get("code", {}).items()},
        "detector_code": {name: str(digest) for name, digest in provenance.get("detector_code", {}).items()},
        "metric_code": {name: str(digest) for name, digest in provenance.get("metric_code", {}).items()},
        "ood_settings": {name: set_settings(how) for name, how in provenance.get("ood", {}).items()},
        "validation": held_out_settings(metrics.get("validation", {}).get("of", {})),
        "not_applicable": {
            safe_name("detector", name): str(reason) for name, reason in metrics.get("not_applicable", {}).items()
        },
    }
