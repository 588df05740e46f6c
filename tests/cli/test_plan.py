"""Runs are planned as Hydra would run them, in its order."""

from pathlib import Path
from typing import Any

import hydra
import pytest
from helpers.cli import LIMITED, RUN
from helpers.config import CONF
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.utils import get_args_parser

from oodbench.cli.configuration import compose, resolve
from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import parse
from oodbench.cli.plan import plan
from oodbench.runs.folder import RunFolder


def test_hydras_own_options_are_read_as_hydra_reads_them() -> None:
    """get_args_parser is internal to Hydra: this says what the command line needs of it."""
    args = get_args_parser().parse_args(["-m", "seed=1,2", "loss=ce", "--config-dir", "/x"])
    assert (args.overrides, args.multirun, args.config_dir) == (["seed=1,2", "loss=ce"], True, "/x")
    assert not any((args.help, args.hydra_help, args.cfg, args.info, args.shell_completion, args.experimental_rerun))
    assert not any((args.config_name, args.config_path))
    assert get_args_parser().parse_args(["--cfg", "job", "--help"]).cfg == "job"


LINES = [
    RUN,
    (*RUN, "+ood.mine.path=/x", "~ood.noise"),
    (*RUN, "experiment=demo", "detector=[all]", "detector.knn.k=7"),
    (*RUN, "++note=x", "recipe=short", "loss=halo", "seed=3"),
    (*RUN, "ood@validation.ood=cifar10", "image_detector=[odin]"),
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_planned_run_is_the_one_that_hydra_composes(line: tuple[str, ...]) -> None:
    ((run,), is_sweep) = plan(line)
    assert not is_sweep
    assert run == resolve(compose(line))


SWEEPS = [
    ("loss=ce,halo", "seed=0,1"),
    ("loss=glob(h*)", "recipe.optimizer.lr=0.1,0.2"),
    ("seed=range(0,3)", "seed=5", "loss=focal", "loss.gamma=choice(1,2)"),
    ("recipe=short,smoke", "note='a,b',c", "seed=1"),
    ("loss=ce,halo", "loss=focal,ce"),
    ("ood=[noise],[unseen_digits,noise]", "+ood.mine.path=/a,/b"),
    ("name.loss='x${seed}'", "seed=1,2"),
    ("recipe.optimizer={lr:0.3}", "recipe.optimizer.lr=0.1,0.2", "seed=1,2"),
    ("data_root=/a,/b", "results_dir='${data_root}/x'", "dataset.limit=null,100"),
    ("dataset=folder", "dataset.path=/a,/b", "dataset.num_classes=2", "dataset.mean=[0,0,0]", "dataset.std=[1,1,1]"),
]


@pytest.mark.parametrize("line", SWEEPS, ids=range(len(SWEEPS)))
def test_a_sweep_is_planned_in_the_order_that_hydra_runs_it(line: tuple[str, ...], tmp_path: Path) -> None:
    given = ("-m", *LIMITED, *line)
    runs, is_sweep = plan(given)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        (batch,) = BasicSweeper.split_arguments(parse(given[1:]), None)
    assert is_sweep
    assert runs == [resolve(compose(each)) for each in batch]


@pytest.mark.parametrize("option", [("--help",), ("--hydra-help",), ("--cfg", "job"), ("--info", "config")])
def test_what_hydra_answers_itself_is_no_run(option: tuple[str, ...]) -> None:
    assert plan([*option, "seed=abc"]) == ([], False)


def test_two_hundred_runs_are_planned_from_few_compositions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A composition reads all files, 0.2 s each."""
    compositions: list[Any] = []
    compose = hydra.compose
    monkeypatch.setattr(hydra, "compose", lambda *args, **more: compositions.append(args) or compose(*args, **more))
    runs, _ = plan(["-m", *LIMITED, "loss=ce,focal", "seed=range(0,10)", "recipe.epochs=range(1,11)"])
    assert len({str(RunFolder.of(run).path) for run in runs}) == len(runs) == 200
    assert len(compositions) <= 2 + 2  # what Hydra itself does, and one a choice of files


def test_settings_of_a_sweep_are_in_its_runs() -> None:
    runs, _ = plan(["-m", *LIMITED, "loss=ce,focal", "seed=0,1"])
    assert [(run["name"]["loss"], run["seed"]) for run in runs] == [("ce", 0), ("ce", 1), ("focal", 0), ("focal", 1)]
    assert "hydra" not in runs[0]


def test_a_search_over_choices_of_files_is_planned() -> None:
    assert plan(["-m", "hydra/sweeper=search", "loss=ce,focal", "validation.images=40"]) == ([], True)


@pytest.mark.parametrize(
    ("objective", "better"),
    [("accuracy", "maximize"), ("ece", "minimize"), ("ood.knn.auroc", "maximize"), ("ood.msp.fpr95_idpos", "minimize")],
)
def test_a_search_looks_for_the_best_of_its_objective(objective: str, better: str) -> None:
    line = ["-m", "hydra/sweeper=search", "loss=ce,focal", "validation.images=40", f"validation.objective={objective}"]
    for direction in ("maximize", "minimize"):
        given = [*line, f"hydra.sweeper.direction={direction}"]
        if direction == better:
            assert plan(given) == ([], True)
        else:
            with pytest.raises(UsageError, match=f"{direction} it.*: add hydra.sweeper.direction={better}$"):
                plan(given)


def test_a_sweeper_of_optuna_itself_has_its_direction_too() -> None:
    given = ["-m", "hydra/sweeper=optuna", "loss=ce,focal", "validation.images=40"]
    assert plan([*given, "validation.objective=ece"]) == ([], True)  # it minimises
    with pytest.raises(UsageError, match="minimize it"):
        plan([*given, "validation.objective=accuracy"])
    assert plan([*given, "validation.objective=accuracy", "hydra.sweeper.direction=MAXIMIZE"]) == ([], True)


def test_a_search_may_choose_a_value_that_must_be_given() -> None:
    line = ("-m", "hydra/sweeper=search", "ood=[imglist]", "ood.imglist.list=choice(/a,/b)", "validation.images=40")
    assert plan(line) == ([], True)
