"""Planned runs are checked before any starts: finished, buildable, with their data there."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import HALO, RUN, Finished

from oodbench.cli.checks import check_buildable, data_problem, is_finished
from oodbench.cli.errors import UsageError
from oodbench.cli.plan import plan


def planned(*overrides: str) -> list[dict[str, Any]]:
    return plan(overrides)[0]


def test_a_run_is_finished_once_it_has_every_number(finished: Finished) -> None:
    (run,) = planned(*HALO, f"results_dir={finished.results}")
    (with_more,) = planned(*HALO, f"results_dir={finished.results}", "detector=[ood_score,knn]")
    (other_seed,) = planned(*HALO, f"results_dir={finished.results}", "seed=4")
    assert [is_finished(each) for each in (run, with_more, other_seed)] == [True, False, False]


def test_what_cannot_be_built_names_its_run(tmp_path: Path) -> None:
    runs = planned("-m", *RUN, f"results_dir={tmp_path}", "loss=halo", "loss.variant=published,other")
    check_buildable(runs[:1])
    with pytest.raises(UsageError, match=r"^digits/resnet18/halo/smoke-\w{8}/seed0: .*other"):
        check_buildable(runs)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("+ood.w={path: /x, exclude: [a]}", "ood.w: got an unexpected keyword argument 'exclude'"),
        ("+ood.w={_target_: oodbench.data.svhn, path: /x}", "ood.w: .*argument"),
        ("~dataset.test", "dataset: 'test'"),
    ],
)
def test_arguments_that_no_reader_takes_are_named(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_buildable(planned(*RUN, f"results_dir={tmp_path}", override))


def test_runs_that_differ_in_their_seed_are_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []

    monkeypatch.setattr("oodbench.build.try_build", lambda config: built.append(config["seed"]))
    check_buildable(planned("-m", *RUN, f"results_dir={tmp_path}", "seed=0,1,2"))
    assert len(built) == 1


def test_missing_data_are_one_line(tmp_path: Path) -> None:
    (run,) = planned(*RUN, f"+ood.gone.path={tmp_path}/gone")
    assert data_problem(run).startswith(f"no parquet file at {tmp_path}/gone")
    assert "\n" not in data_problem(run)
    assert data_problem(planned(*RUN)[0]) == ""


def test_no_module_of_the_command_line_brings_torch_or_scipy() -> None:
    code = """
import importlib, pkgutil, sys, oodbench.cli, oodbench.commands.train
for module in pkgutil.iter_modules(oodbench.cli.__path__):
    importlib.import_module(f"oodbench.cli.{module.name}")
print({"torch", "scipy"} & sys.modules.keys())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"
