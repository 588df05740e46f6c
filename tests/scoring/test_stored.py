"""A finished run is read back as it was trained."""

import numpy as np
import pytest
import torch
from helpers.cli import Finished

from oodbench.model import predict
from oodbench.runs.folder import open_run
from oodbench.scoring.stored import stored_model, stored_objective, stored_run


def test_the_stored_loss_gives_the_stored_outputs(finished: Finished) -> None:
    folder, config = open_run(finished.folder)
    outputs, objective = stored_run(folder, config, folder.read_record()["provenance"]["digests"])
    assert outputs.ood.keys() == config["ood"].keys()
    computed = predict(objective, torch.tensor(outputs.test.features), outputs.test.labels)
    for part, stored in outputs.test._asdict().items():
        np.testing.assert_array_equal(getattr(computed, part), stored)


def test_outputs_of_other_code_are_refused(again: Finished) -> None:
    folder, config = open_run(again.folder)
    digests = folder.read_record()["provenance"]["digests"]
    outputs = folder.read_outputs("test", digests["test"])
    assert outputs is not None
    folder.write_outputs("test", outputs._replace(logits=outputs.logits * 2), digests["test"])
    with pytest.raises(ValueError, match=r"test\.safetensors has other logits.*delete it and .*metrics\.json"):
        stored_run(folder, config, digests)


def test_the_stored_network_has_the_trained_weights(finished: Finished) -> None:
    folder, config = open_run(finished.folder)
    model = stored_model(folder, config, stored_objective(folder, config), torch.device("cpu"))
    weights = folder.usable_weights()
    assert weights is not None
    assert weights.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), weights[name])
