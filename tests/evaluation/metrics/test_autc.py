"""AUTC against the areas below its two error rates, and against other code's values."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden import recipe_more
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from oodbench.evaluation.metrics.autc import autc

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/golden_more.json").read_text())["metrics_more"]["autc"]
scores = st.lists(st.integers(-200, 0).map(lambda i: i / 200), min_size=1, max_size=30)


@given(scores, scores)
def test_autc_is_the_mean_of_both_error_rates(ids: list[float], oods: list[float]) -> None:
    """Thresholds between the scores, which are multiples of 1/200: there the rates are constant."""
    s_id, s_ood = 1 + np.array(ids), 1 + np.array(oods)
    thresholds = (np.arange(200) + 0.5) / 200
    rates = [((s_id >= t).mean() + (s_ood < t).mean()) / 2 for t in thresholds]
    assert autc(np.array(ids), np.array(oods)) == pytest.approx(np.mean(rates), abs=1e-12)


def test_values_equal_those_of_other_code() -> None:
    f_id, _, f_ood = (tensor.numpy() for tensor in recipe_more.metric_inputs())
    value = autc(-softmax(f_id, axis=1).max(1), -softmax(f_ood, axis=1).max(1))
    assert value == pytest.approx(GOLDEN["score_1_minus_msp"]["exact"], abs=1e-9)
    assert value == pytest.approx(GOLDEN["score_1_minus_msp"]["source_trapezoid"], abs=2e-3)


def test_scores_that_are_no_probabilities_are_refused() -> None:
    with pytest.raises(ValueError, match=r"OOD scores are in \[-3.0, -0.5\]"):
        autc(np.array([-0.9]), np.array([-0.5, -3.0]))
    with pytest.raises(ValueError, match="ID scores are in"):
        autc(np.array([0.1]), np.array([-0.5]))


def test_a_probability_that_rounds_above_one_is_one() -> None:
    assert autc(np.array([-1 - 1e-12]), np.array([0.0])) == 0
