"""Mahalanobis++ and CTM equal the values of other code; golden/recipe_more.py rebuilds every input."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden import recipe_more
from helpers.toy import detector
from scipy.special import log_softmax

from oodbench.detectors.reference import Reference
from oodbench.evaluation.metrics import auroc
from oodbench.outputs import Outputs

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/golden_more.json").read_text())["metrics_more"]
NO_RIDGE = 1e-13  # theirs has none, ours must be positive
CASES = {
    "mahalanobis_pp": ("mahalanobis_plus_plus", {"ridge": NO_RIDGE}),
    "mahalanobis": ("mahalanobis_unnormalised", {"ridge": NO_RIDGE}),
    "ctm": ("ctm", {}),
}


def outputs(logits: np.ndarray, labels: np.ndarray) -> Outputs:
    """The logits serve as features."""
    return Outputs(logits, logits, log_softmax(logits, axis=1), np.zeros(len(logits)), labels)


@pytest.mark.parametrize("name", CASES)
def test_scores_equal_the_values_of_other_code(name: str) -> None:
    key, hyperparameters = CASES[name]
    expected = GOLDEN[key].get("max_over_classes", GOLDEN[key])
    f_id, y, f_ood = (tensor.numpy() for tensor in recipe_more.metric_inputs())
    test, ood = outputs(f_id, y), outputs(f_ood, np.zeros(len(f_ood), dtype=np.int64))
    score = detector(name, **hyperparameters)
    id_scores, ood_scores = (score(each, Reference(test, None, None, None)) for each in (test, ood))
    np.testing.assert_allclose(-id_scores[:4], expected["S_id_first4"], rtol=1e-6)
    np.testing.assert_allclose(-ood_scores[:4], expected["S_ood_first4"], rtol=1e-6)
    assert auroc(id_scores, ood_scores) == pytest.approx(expected["auroc"], abs=1e-9)
