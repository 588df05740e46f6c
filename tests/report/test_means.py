"""Means over near and far OOD sets."""

from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, add_run

from oodbench.report.means import FAR, NEAR, with_means
from oodbench.tables.results import load_run

OOD = {"cifar100": {"msp": 0.8}, "tin": {"msp": 0.7}, "svhn": {"msp": 0.9}, "mnist": {"msp": 0.95}}


def test_a_mean_is_unweighted(tmp_path: Path) -> None:
    run = with_means(load_run(add_run(tmp_path, ood=OOD)), ["cifar100", "tin"], ["svhn", "mnist"])
    assert np.isclose(run.numbers[NEAR, "msp", "auroc"], 0.75)
    assert np.isclose(run.numbers[FAR, "msp", "auroc"], 0.925)
    assert NEAR in run.near
    assert FAR not in run.near


def test_resamples_of_a_mean_are_means_of_resamples(tmp_path: Path) -> None:
    noise = {"": NOISE, "cifar100": NOISE[::-1] * 2}
    run = load_run(add_run(tmp_path, ood=OOD, noise=noise))
    found = with_means(run, ["cifar100", "tin"], [])
    expected = (run.resampled["cifar100/msp/auroc"] + run.resampled["tin/msp/auroc"]) / 2
    assert np.allclose(found.resampled[f"{NEAR}/msp/auroc"], expected)
    low, high = found.intervals[NEAR, "msp", "auroc"]
    assert np.allclose([low, high], np.quantile(expected, [0.025, 0.975]))


def test_a_run_without_all_sets_has_no_mean(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path, ood={"cifar100": {"msp": 0.8}}))
    assert with_means(run, ["cifar100", "tin"], ["svhn"]) == run


def test_one_set_has_no_mean(tmp_path: Path) -> None:
    run = load_run(add_run(tmp_path, ood=OOD))
    assert NEAR not in with_means(run, ["cifar100"], ["svhn", "mnist"]).ood_images
