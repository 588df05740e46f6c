"""Reuse: which outputs of earlier starts hold, and whether the network is still the one that was trained."""

import pytest
from helpers.cli import Finished

from oodbench.runs.folder import open_run
from oodbench.scoring.reuse import usable_outputs
from oodbench.scoring.stored import stored_objective


def test_unusable_outputs_are_computed_again(again: Finished) -> None:
    folder, config = open_run(again.folder)
    digest = again.metrics["provenance"]["digests"]["test"]
    objective = stored_objective(folder, config)
    outputs = usable_outputs(folder, "test", digest, objective)
    assert outputs is not None
    assert usable_outputs(folder, "test", "other", objective) is None
    assert folder.metrics.exists()
    folder.write_outputs("test", outputs._replace(ood_score=outputs.ood_score + 1), digest)
    with pytest.warns(UserWarning, match=r"outputs are computed again: .*test\.safetensors has other logits, prob"):
        assert usable_outputs(folder, "test", digest, objective) is None
    assert not folder.metrics.exists()
    folder.outputs("test").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"outputs are computed again: .*test\.safetensors is damaged"):
        assert usable_outputs(folder, "test", digest, objective) is None
