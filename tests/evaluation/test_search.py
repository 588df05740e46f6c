"""Hyperparameters are chosen on validation images, by AUROC."""

import inspect
from typing import Any

import numpy as np
import pytest
from helpers.config import ROOT, names
from helpers.toy import Problem, blobs, detector, random_problem
from omegaconf import OmegaConf

from oodbench import detectors
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation.metrics.detection import auroc
from oodbench.evaluation.search import Chosen, select
from oodbench.outputs import Outputs


def test_the_best_of_a_grid_is_that_of_trying_each() -> None:
    test, ood, reference = blobs()
    grid = {"gamma": [0.1, 1, 5], "M": [2, 4]}
    values = {
        (gamma, M): auroc(*(detectors.gen(outputs, reference, gamma, M) for outputs in (test, ood)))
        for gamma in grid["gamma"]
        for M in grid["M"]
    }
    best = max(values, key=lambda key: values[key])
    assert select(detectors.gen, grid, reference, test, ood) == ({"gamma": best[0], "M": best[1]}, values[best])


def sign(test: Outputs, reference: Reference, sign: int) -> Array:
    if sign == 0:
        raise NotApplicable("has no sign")
    return sign * test.ood_score


def validation(n: int = 20) -> Problem:
    problem = random_problem(n=n)
    problem.ood.ood_score[:] += 100
    return problem


def test_a_sign_is_found_and_the_first_of_equals_is_taken() -> None:
    test, ood, reference = validation()
    assert select(sign, {"sign": [-1, 1, 2]}, reference, test, ood) == Chosen({"sign": 1}, 1.0)


def test_what_does_not_apply_is_passed_over_unless_nothing_does() -> None:
    test, ood, reference = validation()
    assert select(sign, {"sign": [0, -1]}, reference, test, ood) == Chosen({"sign": -1}, 0.0)
    with pytest.raises(NotApplicable, match="has no sign"):
        select(sign, {"sign": [0]}, reference, test, ood)


@pytest.mark.parametrize("grid", [{}, {"sign": []}])
def test_a_grid_without_a_value_is_an_error(grid: dict[str, Any]) -> None:
    test, ood, reference = validation()
    with pytest.raises(ValueError, match="the grid is"):
        select(sign, grid, reference, test, ood)


def test_only_validation_images_are_taken() -> None:
    assert list(inspect.signature(select).parameters)[2:] == ["reference", "id_validation", "ood_validation"]


def infinite(test: Outputs, reference: Reference, power: float) -> Array:
    with np.errstate(divide="ignore"):
        return np.where(test.ood_score > 50, test.ood_score, 0.0) ** power


def test_a_combination_without_finite_scores_is_passed_over() -> None:
    """The best of the finite ones is taken, and a warning names the others."""
    test, ood, reference = validation()
    with pytest.warns(UserWarning, match=r"20 of 40 scores are not finite with \{'power': -1\}"):
        assert select(infinite, {"power": [-1, 1]}, reference, test, ood) == Chosen({"power": 1}, 1.0)
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(NotApplicable, match="no combination of the grid applies: 20 of 40 scores are not finite"),
    ):
        select(infinite, {"power": [-1]}, reference, test, ood)


@pytest.mark.parametrize("name", names("select"))
def test_every_grid_has_hyperparameters_of_its_detector(name: str) -> None:
    grid: Any = OmegaConf.to_container(OmegaConf.load(ROOT / f"conf/select/{name}.yaml"))
    assert grid
    assert (ROOT / f"conf/select/{name}.yaml").read_text().startswith(f"# @package select.{name}\n")
    function = getattr(detectors, name)
    fixed: Any = detector(name)
    assert grid.keys() <= fixed.keywords.keys() == inspect.signature(function).parameters.keys() - {"test", "reference"}
