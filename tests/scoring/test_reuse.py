"""Reuse: whether the network is still the one that was trained, and which code new outputs are of."""

import pytest
from helpers.cli import Finished

from oodbench.runs.folder import open_run
from oodbench.scoring.reuse import code_behind_outputs, remove_outdated_record


def test_new_outputs_are_of_the_code_of_the_training_and_of_today(
    again: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, config = open_run(again.folder)
    code = folder.read_training()["code"]
    assert code_behind_outputs(folder, config, None) == code  # without a warning, which would be an error
    monkeypatch.setattr("oodbench.scoring.reuse.code_of", lambda config: code | {"backbone": "edited"})
    with pytest.warns(UserWarning, match="the code of the backbone is not that with which"):
        both = code_behind_outputs(folder, config, None)
    assert both == code | {"backbone": f"{code['backbone']}, edited"}
    monkeypatch.undo()
    restored = code_behind_outputs(folder, config, again.metrics | {"provenance": {"code": both}})
    assert restored == both  # further sets are of the restored code, some are still of the edited one


def test_numbers_of_outputs_that_do_not_hold_are_removed(again: Finished) -> None:
    folder, _ = open_run(again.folder)
    with pytest.warns(UserWarning, match=r"test\.safetensors has other logits.*numbers of earlier starts are removed"):
        remove_outdated_record(folder, "test")
    assert not folder.metrics.exists()
    assert folder.outputs("test").exists()
