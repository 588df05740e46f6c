"""Runs read for a page: grouped, with their outputs, or left out with a reason."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.made_up import NOISE, add_run, add_taus, alter_metrics
from helpers.report import add_full_run

from oodbench.report.material import Section, read_material, read_one
from oodbench.runs.record import MAIN_SCORES


def sections(results: Path) -> list[Section]:
    return read_material(results, MAIN_SCORES).sections


def test_protocols_and_data_sets_are_apart(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"recipe": {"epochs": 100}})
    add_run(tmp_path, config={"name": {"dataset": "cifar100"}})
    assert [section.dataset for section in sections(tmp_path)] == ["cifar10", "cifar10", "cifar100"]


def test_near_sets_stand_first(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"a_far": {"msp": 0.5}, "cifar100": {"msp": 0.5}})
    (section,) = sections(tmp_path)
    assert section.sets == ["cifar100", "a_far"]


def test_a_loss_is_shown_by_its_row_with_most_seeds(tmp_path: Path) -> None:
    add_taus(tmp_path)
    add_run(tmp_path, "logitnorm", seed=1, config={"loss": {"tau": 1}})
    (section,) = sections(tmp_path)
    assert {run.label: run.result.seed for run in section.representatives()} == {"CE": 0, "LogitNorm (tau=1)": 0}


def test_losses_of_one_paper_name_stay_apart(tmp_path: Path) -> None:
    """A loss of somebody else's has as its key what papers call ce"""
    for loss in ("ce", "CE"):
        for seed in range(3):
            add_run(tmp_path, loss, seed)
    add_run(tmp_path, "focal")
    (section,) = sections(tmp_path)
    assert list(section.labels.values()) == ["CE", "ce", "Focal"]
    assert [len(section.of_row(label)) for label in section.labels.values()] == [3, 3, 1]
    assert len(section.representatives()) == 3


def test_a_seed_with_outputs_is_shown(tmp_path: Path) -> None:
    add_full_run(tmp_path, "ce", 0, 0.8, with_outputs=False)
    add_full_run(tmp_path, "ce", 1, 0.8)
    (section,) = sections(tmp_path)
    assert [run.result.seed for run in section.representatives()] == [1]
    assert [run.without for run in section.runs] == ["no stored outputs", ""]


def test_a_number_that_is_not_finite_leaves_its_run_out(tmp_path: Path) -> None:
    add_run(tmp_path)
    folder = add_run(tmp_path, "other")
    alter_metrics(folder, lambda metrics: metrics["ood"]["svhn"]["msp"].update(auroc=float("inf")))
    material = read_material(tmp_path, MAIN_SCORES)
    assert [run.result.loss for run in material.sections[0].runs] == ["plain"]
    (line,) = material.left_out
    assert line.endswith("metrics.json: svhn msp auroc is not finite")
    with pytest.raises(ValueError, match="svhn msp auroc is not finite"):
        read_one(folder)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # where the made-up intervals are computed
def test_resamples_that_are_not_finite_leave_their_run_out(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, "other", noise=NOISE * float("inf"))
    assert len(read_material(tmp_path, MAIN_SCORES).left_out) == 1


def test_without_any_run_to_draw_the_reason_is_told(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    alter_metrics(folder, lambda metrics: metrics.update(accuracy=float("inf")))
    with pytest.raises(ValueError, match=r"none of 1 runs can be drawn: .*accuracy is not finite"):
        read_material(tmp_path, MAIN_SCORES)


def test_no_page_waits_for_torch() -> None:
    code = "import oodbench.report.page.run, oodbench.report.vector, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
