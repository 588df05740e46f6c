"""Outputs and detectors become the numbers of a run."""

import numpy as np
import pytest
from helpers.toy import NO_HEAD, detector, random_outputs, random_problem

from oodbench.detectors.logits import msp, ood_score
from oodbench.detectors.reference import Array, Reference
from oodbench.evaluation import metrics
from oodbench.evaluation.bootstrap import resampled_id, resampled_ood
from oodbench.evaluation.calibration import calibration
from oodbench.evaluation.evaluate import Detector, evaluate, intervals
from oodbench.evaluation.metric import MISSING
from oodbench.outputs import Outputs
from oodbench.runs.terminal import every_number


def test_every_set_and_detector_has_every_number() -> None:
    test, ood = random_outputs(seed=1), {"a": random_outputs(30, seed=2), "b": random_outputs(50, seed=3)}
    detectors: dict[str, Detector] = {"ood_score": ood_score, "msp": msp}
    numbers, resamples = evaluate(test, ood, detectors, NO_HEAD)
    assert list(numbers) == [*metrics.ID_METRICS, "calibration", "ood", "not_applicable"]
    assert numbers["calibration"] == calibration(test, seed=0)
    assert numbers["not_applicable"] == {}
    assert numbers["accuracy"] == np.mean(test.log_probs.argmax(1) == test.labels)
    confidence = np.exp(test.log_probs.max(1))
    assert numbers["ece"] == metrics.ece(confidence, test.log_probs.argmax(1) == test.labels)
    assert {k: list(v) for k, v in numbers["ood"].items()} == {"a": ["ood_score", "msp"], "b": ["ood_score", "msp"]}
    for name, outputs in ood.items():
        for key, value in numbers["ood"][name]["ood_score"].items():
            assert value == metrics.OOD_METRICS[key](test.ood_score, outputs.ood_score)
            assert type(value) is float
    assert set(numbers["ood"]["a"]["ood_score"]) == {"auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out"}
    assert set(numbers["ood"]["a"]["msp"]) == set(metrics.OOD_METRICS)
    found = intervals(numbers, resamples)
    scores = msp(test, NO_HEAD), msp(ood["b"], NO_HEAD)
    of_msp = resampled_ood({"msp": scores[0]}, {"msp": scores[1]})["msp"]
    of_msp_metrics = {name: metrics.OOD_METRICS[name] for name in of_msp}
    assert found["ood"]["b"]["msp"] == {n: list(m.interval(m(*scores), of_msp[n])) for n, m in of_msp_metrics.items()}
    of_run = {name: ends for name, ends in found.items() if name != "ood"}
    of_id = resampled_id(test.log_probs, test.labels)
    assert of_run == {n: list(metrics.ID_METRICS[n].interval(numbers[n], values)) for n, values in of_id.items()}
    assert all(values.shape == (1000,) for values in resamples.values())
    assert len(resamples) == len(of_run) + 2 * 2 * 5


@pytest.mark.parametrize("of_probabilities", [name for name, m in metrics.OOD_METRICS.items() if m.of_probabilities])
def test_a_metric_of_probabilities_is_given_of_them_alone(of_probabilities: str) -> None:
    """Whatever the range of the other scores: it may be [-1, 0] in one run and not in the next."""
    detectors = {"msp": detector("msp"), "plain": msp, "other": lambda outputs, reference: msp(outputs, reference)}
    numbers, _ = evaluate(random_outputs(seed=1), {"svhn": random_outputs(30, seed=2)}, detectors, NO_HEAD)
    given = {name for name, values in numbers["ood"]["svhn"].items() if of_probabilities in values}
    assert given == {"msp", "plain"}
    assert f"{MISSING:>{len(of_probabilities) + 2}}" in every_number(numbers)


def test_a_detector_is_called_once_for_all_sets() -> None:
    """A detector may take minutes over the training set."""
    asked = []

    def slow(outputs: Outputs, reference: Reference) -> Array:
        asked.append(len(outputs.labels))
        return outputs.ood_score

    evaluate(random_outputs(40), {"a": random_outputs(30), "b": random_outputs(50)}, {"slow": slow}, NO_HEAD)
    assert asked == [120]


def test_a_detector_without_scores_leaves_its_reason() -> None:
    ood = {"svhn": random_outputs(30, seed=2)}
    detectors = {"vim": detector("vim"), "msp": msp, "flat": lambda outputs, reference: np.ones(len(outputs.labels))}
    numbers, _ = evaluate(random_outputs(seed=1), ood, detectors, NO_HEAD)
    assert list(numbers["ood"]["svhn"]) == ["msp"]
    assert numbers["not_applicable"] == {
        "vim": "needs a linear head; this loss has none",
        "flat": "gives one value for every image",
    }
    assert every_number(numbers).splitlines()[-2:] == [
        "vim has no numbers: needs a linear head; this loss has none",
        "flat has no numbers: gives one value for every image",
    ]


def test_an_error_names_the_detector() -> None:
    test, _, reference = random_problem()
    with pytest.raises(ValueError, match="detector vim: dim is 6 of 6"):
        evaluate(test, {"svhn": test}, {"vim": detector("vim", dim=6)}, reference)
    with pytest.raises(ValueError, match=r"detector wide: the scores have shape \(120, 4\) for 120 images"):
        evaluate(test, {"svhn": test}, {"wide": lambda outputs, reference: outputs.logits}, reference)


@pytest.mark.parametrize(("spoilt", "says"), [("test", "ID scores"), ("svhn", "OOD scores")])
def test_a_nan_names_the_detector_and_the_set(spoilt: str, says: str) -> None:
    sets = {"test": random_outputs(seed=1), "svhn": random_outputs(seed=2)}
    sets[spoilt].ood_score[3] = np.nan
    with pytest.raises(ValueError, match=f"ood_score on svhn.*{says}.*nan at 3"):
        evaluate(sets["test"], {"svhn": sets["svhn"]}, {"msp": msp, "ood_score": ood_score}, NO_HEAD)
