"""Folders of made-up runs, as a training leaves them, and what their tables say."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oodbench.cli.configuration import compose, resolve
from oodbench.evaluation.intervals import percentile_interval
from oodbench.runs.folder import RunFolder
from oodbench.storage import read_json, save_arrays, write_json
from oodbench.tables.load import load_runs
from oodbench.tables.sections import Table, section
from oodbench.tables.write import tables_of

Array = NDArray[Any]
RESAMPLES = "resamples-made-up.safetensors"
NOISE = np.linspace(-0.02, 0.02, 1000)  # 95 % of it are within .019
FPR = "FPR@95 (95 % of ID accepted) ↓"
CALIBRATION: dict[str, Any] = {
    "own": {
        **{"ece": 0.05, "adaptive_ece": 0.04, "classwise_ece": 0.01, "mce": 0.2, "smooth_ece": 0.04},
        **{"nll": 0.3, "brier": 0.1},
    },
    "temperature_scaled": {
        **{"ece": 0.02, "adaptive_ece": 0.02, "classwise_ece": 0.01, "mce": 0.1, "smooth_ece": 0.02},
        **{"nll": 0.25, "brier": 0.09},
        "temperatures": [1.5, 1.7],
    },
}

CONFIG: dict[str, Any] = {
    "name": {"dataset": "cifar10", "backbone": "resnet18", "loss": "plain", "recipe": "short"},
    "seed": 0,
    "precision": "auto",
    "dataset": {"num_classes": 10, "near": ["cifar100"], "limit": None, "limit_test": None},
    "backbone": {"_target_": "oodbench.backbones.resnet18", "width": 64},
    "loss": {"_target_": "oodbench.losses.Plain", "smoothing": 0.0},
    "recipe": {
        "epochs": 10,
        "batch_size": 128,
        "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
        "warmup_epochs": 0,
        "clip_grad_norm": None,
    },
}

HALO_BLOG = ("experiment=halo_blog", "loss=halo")  # what makes a run follow that protocol


def score(auroc: float) -> dict[str, float]:
    return {"auroc": auroc, "fpr95_idpos": 1 - auroc, "fpr95_oodpos": 0.5, "aupr_in": 0.7, "aupr_out": 0.6}


def add_run(
    results: Path,
    loss: str = "plain",
    seed: int = 0,
    accuracy: float = 0.9,
    ood: dict[str, dict[str, float]] | None = None,  # AUROC by set and detector
    images: int | dict[str, int] = 100,  # of every OOD set, or by set, 100 of others
    config: dict[str, dict[str, Any]] | None = None,
    follows: tuple[str, ...] = (),
    finished: bool = True,
    not_applicable: dict[str, str] | None = None,
    noise: Array | dict[str, Array] | None = None,
    calibration: dict[str, Any] | None = None,
    digests: dict[str, str] | None = None,
) -> Path:
    """A run folder as a training leaves it; `config` overrides single values of the blocks of CONFIG, or of the
    configuration of a command that the run `follows`, given by its overrides.

    noise: (R,), what resampling adds to every number, or to those whose names in the file begin with a key; without
    it, the run was scored before there were resamples.
    """
    resolved = deepcopy(resolve(compose(follows)) if follows else CONFIG) | {"seed": seed}
    if not follows:
        resolved["name"]["loss"], resolved["loss"]["_target_"] = loss, f"oodbench.losses.{loss}"
    for block, values in (config or {}).items():
        resolved[block] |= values
    split = resolved["dataset"].get("test", {}).get("split", "test")
    files = RunFolder.of(resolved | {"results_dir": str(results)})
    folder, run = files.path, files.run
    folder.mkdir(parents=True)
    files.write_config(resolved | {"results_dir": str(results)})
    ood = ood or {"cifar100": {"ood_score": 0.8, "msp": 0.8}, "svhn": {"ood_score": 0.9, "msp": 0.9}}
    metrics = {
        "run": str(run),
        "config_hash": run.hash,
        **{"accuracy": accuracy, "ece": 0.05, "nll": 0.3, "brier": 0.1},
        "ood": {set_: {detector: score(auroc) for detector, auroc in each.items()} for set_, each in ood.items()},
        **({} if not_applicable is None else {"not_applicable": not_applicable}),
        "provenance": {
            "images": {
                "train": resolved["dataset"]["limit"] or 50_000,
                "test": resolved["dataset"]["limit_test"] or (10_000 if split == "test" else 9_000),
                **{name: images.get(name, 100) if isinstance(images, dict) else images for name in ood},
            },
            "precision": "bf16",
            **({} if digests is None else {"digests": digests}),
        },
    }
    if calibration is not None:
        metrics["calibration"] = calibration
    if noise is not None:
        metrics["resamples"] = {"file": RESAMPLES, "numbers": "made up"}
        metrics["intervals"] = write_resamples(folder, metrics, noise if isinstance(noise, dict) else {"": noise})
    if finished:
        write_json(folder / "metrics.json", metrics)
    return folder


def add_with_shifted(results: Path, loss: str, ood: dict[str, float], seed: int = 0) -> Path:
    """A run with these AUROCs of its own score, in which the set `fog` is a corruption of its own test images."""
    test = {"dataset": {"test": {"_target_": "oodbench.data.cifar10"}}}
    scores = {name: {"ood_score": auroc} for name, auroc in ood.items()}
    folder = add_run(results, loss, seed, ood=scores, noise=0.01 * NOISE, config=test)
    of = {name: {"_target_": f"oodbench.data.{'cifar10c' if name == 'fog' else name}"} for name in ood}
    alter_metrics(folder, lambda content: content["provenance"].update(ood=of))
    return folder


def write_resamples(folder: Path, metrics: dict[str, Any], noise: dict[str, Array]) -> dict[str, Any]:
    """Return the intervals."""
    numbers = {metric: metrics[metric] for metric in ("accuracy", "ece", "nll", "brier")}
    for set_, detectors in metrics["ood"].items():
        for detector, values in detectors.items():
            numbers |= {f"{set_}/{detector}/{metric}": value for metric, value in values.items()}
    resampled = {
        name: value + noise[max((key for key in noise if name.startswith(key)), key=len)]
        for name, value in numbers.items()
    }
    save_arrays(folder / RESAMPLES, resampled, run=metrics["run"], numbers="made up")
    intervals: dict[str, Any] = {"ood": {}}
    for name, values in resampled.items():
        *where, metric = name.split("/")
        at = intervals
        for key in ["ood", *where] if where else []:
            at = at.setdefault(key, {})
        at[metric] = list(percentile_interval(values))
    return intervals


def several(results: Path, seeds: dict[str, dict[int, float]]) -> dict[str, dict[int, Array]]:
    """Runs of accuracies by loss and seed -> their resamples"""
    random, resampled = np.random.default_rng(0), {}
    for loss, values in seeds.items():
        noises = {seed: 0.001 * random.normal(size=1000) for seed in values}
        resampled[loss] = {seed: value + noises[seed] for seed, value in values.items()}
        for seed, value in values.items():
            add_run(results, loss, seed, value, noise=noises[seed])
    return resampled


def add_taus(results: Path) -> None:
    """Three runs that differ in loss.tau and one without it."""
    for tau in (0.1, 1, 0.04):
        add_run(results, "logitnorm", config={"loss": {"tau": tau}}, accuracy=0.9 - tau / 10)
    add_run(results, "ce")


def sections(results: Path, fpr: str = "idpos", detectors: Sequence[str] = ("ood_score",)) -> list[Table]:
    """The tables of runs of one data set."""
    return tables_of(load_runs(results).runs, [], fpr, detectors)


def only_section(results: Path, fpr: str = "idpos", detectors: Sequence[str] = ("ood_score",)) -> Table:
    """The table of runs of one protocol."""
    return section(load_runs(results).runs, fpr, detectors)


def column(table: Table, *header: str) -> list[str]:
    """The cells under (group, name) or (name)."""
    where = table.columns.index((header[0], header[1]) if len(header) == 2 else ("", header[0]))
    return [row[where] for row in table.rows]


def notes(table: Table) -> str:
    return " ".join(table.notes)


def alter_metrics(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a run's metrics.json, checksum included: as another version of the code would have written it."""
    content = read_json(folder / "metrics.json")
    change(content)
    write_json(folder / "metrics.json", content)
