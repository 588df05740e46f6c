"""Scoring: what detectors may know, and which stored outputs are used."""

from typing import Any

import numpy as np
import torch

from oodbench.losses.ce import CrossEntropy
from oodbench.losses.external import ExternalLogits
from oodbench.outputs import Outputs
from oodbench.scoring.score import RunOutputs, Scoring, reference_of, score


def test_detectors_are_blind_where_held_out_images_judge_them() -> None:
    seen: list[bool] = []

    def watching(test: Outputs, reference: Any) -> Any:
        seen.append(reference.validation is not None)
        return test.ood_score

    def outputs(n: int) -> Outputs:
        random = np.random.default_rng(n)
        log_probs = torch.from_numpy(random.normal(size=(n, 2))).log_softmax(1).numpy()
        return Outputs(
            log_probs.astype("f4"), log_probs.astype("f4"), log_probs, random.normal(size=n), np.arange(n) % 2
        )

    held_out = {"val": outputs(11), "val_ood": outputs(12)}
    of_run = RunOutputs(outputs(8), outputs(9), {"noise": outputs(10)}, held_out)
    numbers, _ = score(of_run, ExternalLogits(2, 2), Scoring({"a": watching}, {}))
    assert seen == [True, False]
    assert numbers["validation"]["ood"].keys() == {"a"}
    assert "validation" not in score(of_run._replace(validation={}), ExternalLogits(2, 2), Scoring({}, {}))[0]


def test_a_detector_may_know_what_the_objective_offers() -> None:
    nothing = Outputs(*(np.zeros((0, 2)),) * 5)
    of_run = RunOutputs(nothing, nothing, {}, {})
    linear = reference_of(of_run, CrossEntropy(2, 2, label_smoothing=0.0))
    assert linear.linear is not None
    assert linear.head is not None
    unknown = reference_of(of_run, ExternalLogits(2, 2))
    assert (unknown.linear, unknown.head, unknown.validation) == (None, None, None)
