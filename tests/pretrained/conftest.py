"""Outputs of a run here, as somebody else's code has them."""

import pytest
from helpers.cli import Finished
from helpers.external import SETS, Arrays, stored

from oodbench.storage import load_arrays


@pytest.fixture(scope="module")
def arrays(finished_ce: Finished) -> Arrays:
    """The outputs of a run, as somebody else's script would write them."""
    weights, _ = load_arrays(finished_ce.folder / "model.safetensors")
    arrays: Arrays = {f"head/{part}": weights[f"objective.head.{part}"] for part in ("weight", "bias")}
    for name in SETS:
        outputs = stored(finished_ce.folder, name)
        arrays |= {f"{name}/{part}": getattr(outputs, part) for part in ("features", "logits", "labels")}
    return arrays
