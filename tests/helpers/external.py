"""External outputs, and those of a run to compare them with."""

from pathlib import Path
from typing import Any

from oodbench.outputs import Outputs
from oodbench.runs.folder import open_run

SETS = ("train", "test", "unseen_digits", "noise")
Arrays = dict[str, Any]


def stored(folder: Path, name: str) -> Outputs:
    outputs = open_run(folder)[0].read_outputs(name)
    assert outputs is not None
    return outputs
