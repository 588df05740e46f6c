"""The numbers of a run, their intervals and their text."""

import subprocess
import sys
from pkgutil import iter_modules

import pytest
from helpers.toy import blobs

from oodbench import detectors, evaluation
from oodbench.evaluation.evaluate import evaluate, intervals
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS

DETECTORS = {"ood_score": detectors.ood_score, "msp": detectors.msp}


@pytest.fixture
def evaluated() -> tuple[dict, dict]:
    test, ood, reference = blobs()
    return evaluate(test, {"svhn": ood}, DETECTORS, reference)


def test_the_package_does_without_torch() -> None:
    modules = [module.name for module in iter_modules(evaluation.__path__)]
    code = "; ".join(f"import oodbench.evaluation.{module}" for module in modules)
    code += "; import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_number_that_can_be_resampled_has_an_interval(evaluated: tuple[dict, dict]) -> None:
    numbers, resamples = evaluated
    found = intervals(numbers, resamples)
    assert found.keys() == {name for name, metric in ID_METRICS.items() if metric.resampled} | {"ood"}
    for detector in DETECTORS:
        resampled = {name for name in numbers["ood"]["svhn"][detector] if OOD_METRICS[name].resampled}
        assert found["ood"]["svhn"][detector].keys() == resampled


def test_numbers_that_a_run_lacks_have_none(evaluated: tuple[dict, dict]) -> None:
    numbers, resamples = evaluated
    del numbers["brier"], numbers["ood"]["svhn"]["msp"]["auroc"], resamples["nll"]
    resamples = {key: values for key, values in resamples.items() if "ood_score" not in key}
    found = intervals(numbers, resamples)
    expected = {name for name, metric in ID_METRICS.items() if metric.resampled} - {"brier", "nll"}
    assert found.keys() == expected | {"ood"}
    assert found["ood"]["svhn"].keys() == {"msp"}
    assert "auroc" not in found["ood"]["svhn"]["msp"]
