"""Stored outputs of made-up networks, as a run's folder has them."""

from pathlib import Path

import numpy as np

from oodbench.outputs import Outputs
from oodbench.runs.folder import open_run
from oodbench.storage import write_json


def outputs(n: int, classes: int = 4, features: int = 6, shift: float = 0.0, seed: int = 0) -> Outputs:
    """Draw the outputs of a linear softmax classifier on n images; shift: how far OOD they are."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=n)
    means = 3 * np.random.default_rng(99).normal(size=(classes, features))
    f = (1 - shift) * means[labels] + random.normal(size=(n, features))
    logits = (f @ means.T - 0.5 * np.square(means).sum(1)) / 4
    log_probs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    labels = labels if not shift else np.full(n, -1)
    return Outputs(f.astype(np.float32), logits.astype(np.float32), log_probs, -log_probs.max(1), labels)


def add_outputs(folder: Path, sets: dict[str, int], n: int = 200, seed: int = 0) -> None:
    """Write outputs of n test images and of OOD sets, {name: images}, into a made-up run's folder."""
    run, _ = open_run(folder)
    write_json(run.training, {"run": str(run.run), "weights": "made up", "train_digest": "0" * 64})
    run.write_outputs("test", outputs(n, seed=seed), "1" * 64)
    for i, (name, images) in enumerate(sets.items()):
        run.write_outputs(name, outputs(images, shift=1.0 / (i + 1), seed=seed + i + 1), "2" * 64)
