"""A trained network on the sets of its run: each passes through it once, and the record tells of these sets."""

import numpy as np
import pytest
from helpers.cli import Finished, never, numbers_in

from oodbench.runs.folder import open_run
from oodbench.scoring.rescore import reopen
from oodbench.scoring.stored import stored_objective
from oodbench.scoring.trained import Trained, measure, predict_sets


@pytest.fixture
def run(again: Finished) -> Trained:
    folder, config = open_run(again.folder)
    return reopen(folder, config, stored_objective(folder, config))


def test_a_set_passes_through_the_network_once(run: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("oodbench.scoring.trained.extract_features", never)
        outputs, scores, code = predict_sets(run, {})
    assert code == run.folder.read_training()["code"]
    assert (outputs.keys(), scores) == (run.data.by_name.keys(), {})
    run.folder.outputs("test").unlink()
    once_more = predict_sets(run, {}).outputs
    assert run.folder.outputs("test").exists()
    np.testing.assert_allclose(once_more["test"].logits, outputs["test"].logits, rtol=1e-3, atol=1e-3)
    assert once_more["test"].labels.tolist() == run.data.test.labels.tolist()


def test_outputs_that_the_loss_does_not_give_cost_the_record(run: Trained) -> None:
    outputs = predict_sets(run, {}).outputs
    test, digest = outputs["test"], run.data.test.digest
    run.folder.write_outputs("test", test._replace(ood_score=test.ood_score + 1), digest)
    with pytest.warns(UserWarning, match=r"outputs are computed again: .*test\.safetensors has other logits, prob"):
        once_more = predict_sets(run, {}).outputs
    np.testing.assert_allclose(once_more["test"].ood_score, test.ood_score, rtol=1e-3, atol=1e-3)
    assert not run.folder.metrics.exists()


def test_the_record_tells_of_the_sets_that_were_measured(run: Trained, again: Finished) -> None:
    measure(run, predict_sets(run, {}), {})
    numbers = numbers_in(again.folder)
    assert numbers["accuracy"] == again.metrics["accuracy"]
    assert numbers["provenance"]["images"] == run.data.sizes == again.metrics["provenance"]["images"]
    assert numbers["provenance"]["digests"] == {name: split.digest for name, split in run.data.by_name.items()}


def test_outputs_of_an_edited_loss_are_recorded_as_its(
    run: Trained, again: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = again.metrics["provenance"]["code"]
    monkeypatch.setattr("oodbench.scoring.reuse.code_of", lambda config: code | {"loss": "edited"})
    run.folder.outputs("test").unlink()
    with pytest.warns(UserWarning, match=f"the code of the loss is not that with which {run.folder.path} was trained"):
        measure(run, predict_sets(run, {}), {})
    both = code | {"loss": f"{code['loss']}, edited"}  # of the weights and of what they are used by
    assert numbers_in(again.folder)["provenance"]["code"] == both
    monkeypatch.undo()
    measure(run, predict_sets(run, {}), {})  # from the outputs that are stored now
    assert numbers_in(again.folder)["provenance"]["code"] == both
