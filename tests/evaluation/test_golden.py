"""Metrics equal the values of other code; golden/recipe.py rebuilds every input, bit for bit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from golden import recipe
from torch.nn import functional as F

from oodbench.evaluation import metrics

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/golden.json").read_text())


def test_metrics_equal_the_values_of_other_code() -> None:
    # Left out: the two trapezoid AUPRs, which interpolate where ours is the average precision; and FPR@95 with ID
    # positive, theirs at the lowest of the thresholds whose recall is nearest to 0.95, ours at the highest that reaches
    # it (two OOD scores lie between them here).
    expected = GOLDEN["metric_crosscheck"]
    rows = torch.arange(expected["n_id"])
    y = (7 * rows + 2) % 10
    logits = 3 * recipe.V((expected["n_id"], 10), 19, 37, 11) + 2 * F.one_hot(y, 10) * (rows % 3 > 0)[:, None]
    log_probs = logits.log_softmax(1).numpy()
    ood = (3 * recipe.V((expected["n_ood"], 10), 31, 61, 19)).softmax(1).amax(1).numpy()
    msp = np.exp(log_probs).max(1)
    actual = {
        "acc": metrics.accuracy(log_probs, y.numpy()),
        "auroc": metrics.auroc(-msp, -ood),
        "aupr_id_positive_average_precision": metrics.aupr_in(-msp, -ood),
        "fpr95_ood_positive_first_reaching": metrics.fpr95_oodpos(-msp, -ood),
    }
    assert actual == pytest.approx({name: expected[name] for name in actual}, rel=0, abs=1e-9)
    ece = metrics.ece(msp, log_probs.argmax(1) == y.numpy())
    assert ece == pytest.approx(expected["ece15"], rel=0, abs=1e-6)  # theirs in float32
