"""scripts/evaluate.py reads detectors as train.py does."""

import pytest

from oodbench.commands.evaluate import detectors


def test_detectors_are_chosen_and_set_as_for_a_training() -> None:
    of_outputs, of_network = detectors(["detector=[energy,knn]", "detector.energy.temperature=0.1"])
    assert list(of_outputs) == ["energy", "knn"]
    assert of_outputs["energy"]["temperature"] == 0.1
    assert of_network == {}


def test_another_key_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seed=1: only detectors can be chosen"):
        detectors(["detector=all", "seed=1"])
