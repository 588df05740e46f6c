"""Seeds of one loss with random outputs, from which an ensemble can be made."""

from pathlib import Path

import numpy as np
from helpers.made_up import CALIBRATION, NOISE, add_run, alter_metrics

from oodbench.outputs import Outputs
from oodbench.runs.folder import open_run

N, CLASSES = 200, 3
SETS = ("svhn", "mnist")
DIGESTS = {name: f"digest of {name}" for name in ("test", *SETS)}


def outputs(seed: int, name: str, halo: bool = False) -> Outputs:
    """Random ones; the labels of a set are the same for every seed. halo: rows that do not sum to one"""
    i = ["test", *SETS].index(name)
    labels = np.random.default_rng(i).integers(CLASSES, size=N)
    random = np.random.default_rng([seed, i])
    logits = random.normal(size=(N, CLASSES + halo)) + (1 if name == "test" else 0) * np.eye(CLASSES + halo)[labels]
    log_probs = (logits - np.log(np.exp(logits).sum(1, keepdims=True)))[:, :CLASSES]
    return Outputs(np.zeros((N, 2), np.float32), logits.astype(np.float32), log_probs, -log_probs.max(1), labels)


def add_seed(results: Path, seed: int, halo: bool = False) -> Path:
    ood = {name: {"msp": 0.9, "ood_score": 0.9} for name in SETS}
    path = add_run(results, "ce", seed, ood=ood, images=N, noise=NOISE, calibration=CALIBRATION, digests=DIGESTS)
    folder, _ = open_run(path)
    folder.write_training({}, {"weight": np.array([seed])}, "digest")
    weights = folder.read_training()["weights"]
    alter_metrics(path, lambda content: content.update(weights=weights))
    for name in ("test", *SETS):
        folder.write_outputs(name, outputs(seed, name, halo), DIGESTS[name])
    return path


def add_seeds(results: Path, seeds: int = 3, halo: bool = False) -> Path:
    paths = [add_seed(results, seed, halo) for seed in range(seeds)]
    return paths[0].parent


def other_images(folder: Path) -> None:
    alter_metrics(folder / "seed1", lambda content: content["provenance"]["digests"].update(mnist="another"))
