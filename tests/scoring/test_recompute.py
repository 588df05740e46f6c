"""The numbers of a finished run come again from its outputs."""

import pytest
from helpers.cli import Finished, numbers_in

from oodbench.scoring.recompute import recompute

NUMBERS = ("accuracy", "ece", "nll", "brier", "ood", "intervals", "calibration")


def test_a_record_is_computed_again_to_the_bit(finished: Finished) -> None:
    record = numbers_in(finished.folder)
    computed, missing = recompute(finished.folder, record)
    assert {name: computed[name] for name in NUMBERS} == {name: record[name] for name in NUMBERS}
    assert not missing


def test_outputs_of_other_weights_are_refused(finished: Finished) -> None:
    record = numbers_in(finished.folder) | {"weights": "others"}
    with pytest.raises(ValueError, match="has the outputs of other weights"):
        recompute(finished.folder, record)
