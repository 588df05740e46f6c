"""Scores of stored outputs."""

import numpy as np
import pytest
from helpers.outputs import outputs

from oodbench.report.scores import scores_of

MADE = {"ood_score": "{}", "msp": "{}", "energy": '{"temperature": 2.0}', "knn": "{}"}


def test_scores_are_those_of_the_detectors() -> None:
    test, ood = outputs(50), outputs(30, shift=1.0)
    found = scores_of(test, {"a": ood}, ["energy"], MADE)
    assert np.allclose(found["energy"].ids, -2 * np.log(np.exp(test.logits.astype(float) / 2).sum(1)))
    assert len(found["energy"].oods["a"]) == 30


def test_a_score_in_the_same_order_is_left_out() -> None:
    found = scores_of(outputs(50), {"a": outputs(30, shift=1.0)}, MADE, MADE)
    assert list(found) == ["ood_score", "energy"]  # msp is a rising function of -max log p


def test_scores_without_numbers_are_left_out() -> None:
    assert "energy" not in scores_of(outputs(50), {}, ["msp"], MADE)
    assert "energy" not in scores_of(outputs(50), {}, ["energy"], {})


@pytest.mark.parametrize("temperature", ['"1"', "true", "0", "-1", "null"])
def test_a_temperature_that_is_none_is_an_error(temperature: str) -> None:
    with pytest.raises(ValueError, match="temperature"):
        scores_of(outputs(5), {}, ["energy"], {"energy": f'{{"temperature": {temperature}}}'})


def test_as_many_ties_elsewhere_are_another_order() -> None:
    """Own scores 1, 1, 2 and MSP 1, 2, 2 rise together, and rank the images differently."""
    tied = outputs(3)._replace(
        ood_score=np.array([1.0, 1.0, 2.0]),
        log_probs=np.log([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2]]),
    )
    assert list(scores_of(tied, {}, ["ood_score", "msp"], MADE)) == ["ood_score", "msp"]
