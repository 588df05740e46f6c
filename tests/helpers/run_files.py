"""Folders of runs with a few made-up files."""

from pathlib import Path
from typing import Any

import numpy as np
from helpers.config import configuration

from oodbench.outputs import Outputs
from oodbench.runs.folder import RunFolder

WEIGHTS = {"layer": np.arange(6, dtype="f4").reshape(2, 3), "counter": np.array(3)}
OUTPUTS = Outputs(
    np.arange(12, dtype="f4").reshape(4, 3)[:, ::-1],  # not contiguous
    np.ones((4, 2), dtype="f4"),
    np.full((4, 2), np.log(0.5)),
    np.array([1e-300, 1, 1 + 1e-15, -1]),
    np.array([0, 1, 1, 0]),
)
RECORD: dict[str, Any] = {"accuracy": 0.5, "ood": {}, "not_applicable": {}, "provenance": {}}
RESAMPLES = {"accuracy": np.array([0.4, 0.6])}


def trained(results: Path, seed: int = 0, **values: Any) -> RunFolder:
    """Return the folder of a run that is trained."""
    folder = RunFolder.of(configuration(seed=seed, results_dir=str(results), **values))
    folder.write_training({"precision": "fp32"}, WEIGHTS, "digest")
    folder.write_weights(WEIGHTS)
    return folder


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def everything(folder: RunFolder) -> None:
    """Write every kind of file."""
    folder.write_outputs("test", OUTPUTS, "digest")
    folder.write_scores("odin", "test", np.ones(4))
    folder.write_record(RECORD, RESAMPLES)
