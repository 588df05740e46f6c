"""Reuse: which outputs of earlier starts hold, and whether the network is still the one that was trained."""

import pytest
from helpers.cli import Finished

from oodbench.runs.folder import open_run
from oodbench.scoring.reuse import read_whole_outputs


def test_damaged_outputs_are_none(again: Finished) -> None:
    folder, _ = open_run(again.folder)
    digest = again.metrics["provenance"]["digests"]["test"]
    assert read_whole_outputs(folder, "test", digest) is not None
    assert read_whole_outputs(folder, "test", "other") is None
    folder.outputs("test").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"outputs are computed again: .*test\.safetensors is damaged"):
        assert read_whole_outputs(folder, "test", digest) is None
    assert folder.metrics.exists()
