"""A command is checked before anything starts; a mistake is one line; a sweep ends with a table and a status."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from helpers.cli import HALO, LIMITED, RUN, Finished, command, folders, started
from helpers.made_up import add_run
from helpers.report import add_garbage_run

from oodbench.cli.launch import best_of_search, finished_table, launch
from oodbench.cli.overrides import quote
from oodbench.cli.plan import plan
from oodbench.runs.folder import RunFolder
from oodbench.runs.lock import run_lock


def usage(*arguments: str) -> str:
    """Return the line that a wrong command ends with."""
    with pytest.raises(SystemExit) as end:
        started(*arguments)
    assert isinstance(end.value.code, str)
    assert "\n" not in end.value.code
    return end.value.code


def test_a_run_that_cannot_be_read_leaves_the_table_of_the_others(tmp_path: Path) -> None:
    good, bad = add_run(tmp_path, "good"), add_garbage_run(tmp_path)
    table, line = finished_table([good, bad]).rsplit("\n\n", 1)
    assert table == finished_table([good])
    assert re.match(r"left out: .*garbage.*belongs to run", line)
    assert finished_table([bad]) == line


SEARCH = ("-m", "hydra/sweeper=search")
MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("ood=[noise,parquet]",), "ood.parquet.path"),
    (("loss=hallo",), "loss=hallo: loss hallo is not available; did you mean halo?"),
    (("experiment=smal",), "experiment smal is not available"),
    (("detector=[odin]",), "odin reads images: image_detector=[odin]"),
    (("loss=focal", "loss.gama=1"), "loss has no gama; did you mean loss.gamma? available: gamma"),
    (("ood.leaves.path=/x",), "+ood.leaves.path"),
    (("recipe.epochs=0",), "recipe.epochs=0: a whole number from 1 on is needed"),
    (("backbone.width=0",), "backbone.width=0"),
    (("threads=0",), "threads=0"),
    (("precision=fp16",), "precision=fp16: one of auto, bf16, fp32, tf32 is needed"),
    (("wandb.mode=onlin",), "wandb.mode=onlin"),
    (("device=gpu",), "device=gpu"),
    (("seed=-1",), "seed=-1"),
    (("recipe.epochs=${oc.env:HOME}",), "recipe.epochs='"),
    ((f"seed={10**30}",), f"seed={10**30}: a whole number from 0 to 2^63 - 1 is needed"),
    (("seed=1,2",), "seed=1,2: several values are a sweep, which needs -m"),
    (("~seed",), "the configuration lacks 'seed'"),
    (("weights.5=x",), "weights[5]"),
    (("seed.x=1",), "seed"),
    (("foo",), "foo"),
    (("data_root=${nothing}",), "nothing"),
    (("name.dataset=../../x",), "name.dataset='../../x'"),
    (("name.loss=a/b",), "name.loss='a/b'"),
    (("name.loss='=cmd()'",), "name.loss='=cmd()'"),
    (("+recipe.optimizer.betta=1",), "betta"),
    (("loss=halo", "loss.variant=other"), "other"),
    (("recipe.optimizer.momentum=0",), "recipe: Nesterov momentum requires"),
    (("+detector.msp.temperature=3",), "temperature"),
    (("detector.msp._target_=oodbench.detectors.mps",), "mps"),
    (("+detector.mine._target_=nowhere.mine",), "nowhere"),
    (("+detector.mine.k=3",), "{'k': 3} is not a callable"),
    (("+image_detector.msp._target_=oodbench.detectors.msp",), "msp: a detector and an image detector have this name"),
    (("weights=[/nowhere.pt]",), "/nowhere.pt"),
    (("devices=2", "compile=true"), "not tried together"),
    (
        ("ood=[]", "validation.images=40", "validation.objective=ood.msp.aurok"),
        "validation.objective=ood.msp.aurok: is not avai",
    ),
    (("ood=[]", "validation.images=40", "validation.objective=ood.knn.auroc"), "available: accuracy, ece"),
    (
        ("ood=[]", "validation.images=40", "validation.objective=ood.ood_score.autc"),  # of probabilities alone
        "validation.objective=ood.ood_score.autc: is not avai",
    ),
    (("validation.images=40",), "noise is reported, so nothing may be chosen on it"),
    (("-m", "loss=ce,halo", "seed=0,abc"), "seed=abc: a whole number"),
    (("-m", "loss=ce,logitnorm", "loss.tau=0.1,0.2"), "loss.tau=0.1: loss has no tau"),
    (("-m", "loss=ce,hallo"), "loss=hallo: loss hallo is not available"),
    (("-m", "recipe.epochs=1,0"), "recipe.epochs=0: a whole number from 1 on is needed"),
    (("-m", "loss=halo", "loss.variant=published,other"), "other"),
    (("-m", "loss.label_smoothing=interval(0,1)"), "an interval is for hydra/sweeper=search; a grid needs a list"),
    ((*SEARCH, "loss.label_smoothing=interval(0,1)"), "a search needs held-out images"),
    ((*SEARCH, "loss=ce,halo", "loss.gama=interval(0,1)", "validation.images=40"), "loss has no gama"),
]


@pytest.mark.parametrize(("overrides", "says"), MISTAKES, ids=[" ".join(mistake[0]) for mistake in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, overrides: tuple[str, ...], says: str) -> None:
    first = [o for o in overrides if o == "-m"]
    line = usage(*first, *RUN, f"results_dir={tmp_path / 'results'}", *overrides[len(first) :])
    assert line.startswith("train.py: ")
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_takes_no_files_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    for arguments in (RUN, ("-m", *LIMITED, "loss=ce,halo")):
        line = usage(*arguments, f"results_dir={tmp_path / 'results'}")
        assert f"cannot write {tmp_path}/results/" in line


def test_a_run_that_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    run = (*RUN, f"results_dir={tmp_path}")
    ((config,), _) = plan(run)
    with run_lock(RunFolder.of(config).path), pytest.raises(SystemExit) as end:
        started(*run)
    assert end.value.code == 75


def test_a_finished_run_returns_its_objective(finished: Finished) -> None:
    run = (*HALO, f"results_dir={finished.results}")
    assert started(*run).startswith("finished already")
    assert started(*run, "validation.objective=nll").startswith("finished already")


def test_a_sweep_ends_with_a_table_and_a_status(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["-m", *HALO, "seed=3,4", f"results_dir={finished.results}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as end:
        launch(lambda: None, arguments)
    assert end.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("digits, resnet18 (width=4), recipe smoke, 2 epochs")
    assert lines[6].split()[:3] == ["halo", "1", f"{100 * finished.metrics['accuracy']:.2f}"]
    assert lines[8].startswith("run ")
    assert re.fullmatch(r"digits/resnet18/halo/smoke-\w{8}/seed4 .* missing .*the same command starts it", lines[9])
    assert lines[-1] == "1 done, 0 running, 0 failed, 0 stopped, 1 missing"


def test_a_long_sweep_does_not_list_every_missing_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["-m", *RUN, "seed=range(23)", f"results_dir={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit):
        launch(lambda: None, arguments)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 1 + 20 + 1 + 2
    assert lines[-3:] == ["and 3 more", "", "0 done, 0 running, 0 failed, 0 stopped, 23 missing"]


def test_a_sweep_of_finished_runs_ends_well(finished: Finished) -> None:
    printed = started("-m", *HALO, f"results_dir={finished.results}")
    assert printed.count("finished already") == 1
    assert printed.endswith("1 done, 0 running, 0 failed, 0 stopped\n")
    assert folders(finished.results) == [finished.folder]


def test_two_jobs_that_are_one_run_count_once(finished: Finished) -> None:
    printed = started("-m", *HALO, "checkpoint_share=0.1,0.2", f"results_dir={finished.results}")
    assert printed.count("finished already") == 2
    assert re.search(r"^halo +1 ", printed, re.MULTILINE)


@pytest.mark.parametrize(("train", "code"), [(lambda file: None, 1), (os.utime, 0)])
def test_a_forced_sweep_needs_new_numbers(
    again: Finished, monkeypatch: pytest.MonkeyPatch, train: Callable[[Path], None], code: int
) -> None:
    arguments = ["-m", *HALO, "force=true", f"results_dir={again.results}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) if code else nullcontext() as end:
        launch(lambda: train(again.folder / "metrics.json"), arguments)
    assert end is None or end.value.code == code


def test_what_a_search_found_is_read_in_a_folder_of_any_name(tmp_path: Path) -> None:
    file = tmp_path / "über" / "runs" / "optimization_results.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("best_value: 0.9\n")
    assert best_of_search([quote(f"results_dir={tmp_path / 'über'}")]) == f"best_value: 0.9\n{file}"


def test_without_arguments_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = started()
    assert "python train.py loss=NAME" in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", [["--results-dir", "{}"], ["--results-dir={}"], ["results_dir={}"]])
def test_the_results_folder_has_the_scripts_spelling_too(finished: Finished, spelling: list[str]) -> None:
    printed = started(*HALO, *(text.format(finished.results) for text in spelling))
    assert printed.startswith("finished already")
    assert printed.endswith(f"{finished.folder}\n")


def imported_by(*arguments: str) -> tuple[str, set[str]]:
    """Return what the command prints, and the modules that it imports."""
    start = [sys.executable, "-X", "importtime", *command(*arguments)[1:]]
    ended = subprocess.run(start, capture_output=True, text=True, check=True)
    return ended.stdout, {line.split("|")[-1].strip() for line in ended.stderr.splitlines()}


HEAVY = {"torch", "torchvision", "sklearn", "scipy", "pandas", "wandb"}


def test_help_does_not_wait_for_torch() -> None:
    printed, imported = imported_by("--help")
    assert printed.startswith("Train a classifier with a loss")
    assert "hydra" in imported
    assert not HEAVY & imported


def test_a_finished_run_does_not_wait_for_torch(finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    printed, imported = imported_by(*HALO, f"results_dir={finished.results}")
    assert printed.startswith("finished already")
    assert str(finished.folder) in printed
    assert "hydra" in imported
    assert not HEAVY & imported
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
