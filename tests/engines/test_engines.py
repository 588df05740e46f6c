"""The same grid by joblib, by submitit and by Optuna: killed half-way, repeated, preempted."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from helpers.config import ROOT

from oodbench.runs.lock import owner
from oodbench.runs.status import states

RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=12", "recipe.batch_size=64", "backbone.width=4", "device=cpu"]
RUN += ["precision=fp32", "dataset.limit=200", "dataset.limit_test=80", "ood=[unseen_digits]", "checkpoint_share=1.0"]
RUN += ["recipe.optimizer.lr=0.01", "threads=1"]


pytestmark = pytest.mark.slow


def sweep(results: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *RUN, f"results_dir={results}", *overrides]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=listen_to_ctrl_c
    )


def listen_to_ctrl_c() -> None:
    """A shell's background jobs, of which these tests may be one, do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(process: subprocess.Popen[str]) -> str:
    """Return what it printed until it ended."""
    printed, _ = process.communicate(timeout=300)
    return printed


def victim(results: Path, process: subprocess.Popen[str], loss: str) -> tuple[Path, int]:
    """The folder of that loss's run once it has a checkpoint, and the process that runs it."""
    while True:
        assert process.poll() is None, "ended before a run could be killed:\n" + done(process)
        for file in results.glob(f"runs/*/*/{loss}/*/*/checkpoint.previous.pt"):
            who = owner(file.parent)
            if who and not (file.parent / "model.safetensors").exists():
                return file.parent, who.pid
        time.sleep(0.01)


def weights(results: Path) -> dict[str, bytes]:
    return {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("model.safetensors")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid as Hydra runs it by itself: one run after the other in one process."""
    results = tmp_path_factory.mktemp("straight")
    process = sweep(results, "loss=ce,ghm")
    assert "2 done, 0 running, 0 failed, 0 stopped" in done(process)
    assert process.returncode == 0
    return results


def test_a_killed_run_ends_in_the_weights_of_a_whole_one(straight: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), *RUN, f"results_dir={tmp_path}", "loss=ghm"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    folder, pid = victim(tmp_path, process, "ghm")
    assert pid == process.pid
    process.kill()
    done(process)
    epochs = len((folder / "train.csv").read_text().splitlines()) - 1
    assert 0 < epochs < 12
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    (name,) = weights(tmp_path)
    assert weights(tmp_path)[name] == weights(straight)[name], again.stdout
    numbers, expected = (json.loads((at / name).with_name("metrics.json").read_text()) for at in (tmp_path, straight))
    assert numbers["ood"] == expected["ood"]
    assert numbers["provenance"]["epochs"] == 12


@pytest.mark.parametrize("launcher", ["local", "submitit_local"])
def test_the_same_command_finishes_a_grid_with_a_killed_run(launcher: str, straight: Path, tmp_path: Path) -> None:
    arguments = (f"hydra/launcher={launcher}", "loss=ce,ghm")
    process = sweep(tmp_path, *arguments)
    folder, pid = victim(tmp_path, process, "ghm")
    assert pid != process.pid
    os.kill(pid, signal.SIGKILL)
    printed = done(process)
    assert process.returncode not in (0, None), printed
    assert "‖ stopped" in printed
    assert str(folder.relative_to(tmp_path / "runs")) in printed
    again = sweep(tmp_path, *arguments)
    assert "2 done, 0 running, 0 failed, 0 stopped" in done(again)
    assert again.returncode == 0
    assert weights(tmp_path) == weights(straight)  # the engine makes no difference, nor does the death


def test_a_job_that_submitit_preempts_goes_on_in_its_folder(straight: Path, tmp_path: Path) -> None:
    process = sweep(tmp_path, "hydra/launcher=submitit_local", "loss=ghm")
    folder, pid = victim(tmp_path, process, "ghm")
    os.kill(pid, signal.SIGUSR2)  # as SLURM does before it takes the node away; submitit queues the job again
    printed = done(process)
    assert process.returncode == 0, printed
    name = str(folder.relative_to(tmp_path) / "model.safetensors")
    assert weights(tmp_path) == {name: weights(straight)[name]}
    (log,) = (tmp_path / "runs" / ".submitit").glob("*/*_log.err")
    assert "this job is preempted" in log.read_text()


@pytest.mark.parametrize(
    ("launcher", "number"), [("local", signal.SIGTERM), ("local", signal.SIGINT), ("basic", signal.SIGTERM)]
)
def test_a_sweep_that_is_told_to_end_lets_its_runs_save(
    launcher: str, number: signal.Signals, straight: Path, tmp_path: Path
) -> None:
    arguments = (f"hydra/launcher={launcher}", "loss=ghm,ce")
    process = sweep(tmp_path, *arguments)
    folder, pid = victim(tmp_path, process, "ghm")
    assert (pid == process.pid) == (launcher == "basic")
    process.send_signal(number)
    printed = done(process)
    assert process.returncode == 128 + number, printed
    assert "stopped and saved" in printed
    assert "‖ stopped" in printed[printed.index("\nrun ") :]
    assert owner(folder) is None
    assert not (folder / "lock.json").exists()  # it was given back, and not only its owner killed
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "2 done, 0 running, 0 failed, 0 stopped" in done(sweep(tmp_path, *arguments))
    assert weights(tmp_path) == weights(straight)


def test_a_run_after_another_in_one_process_is_one_alone(straight: Path, tmp_path: Path) -> None:
    alone = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *RUN, f"results_dir={tmp_path}", "loss=ghm"],
        capture_output=True,
        text=True,
        check=True,
    )
    (name,) = weights(tmp_path)
    assert weights(tmp_path)[name] == weights(straight)[name], alone.stdout  # after ce, in straight


def test_two_overlapping_sweeps_run_no_run_twice(tmp_path: Path) -> None:
    one = sweep(tmp_path, "loss=ce,ghm", "recipe.epochs=60")
    folder, _ = victim(tmp_path, one, "ce")
    two = sweep(tmp_path, "loss=ce,ghm", "recipe.epochs=60")
    printed = [done(one), done(two)]
    trained = [text.count("\naccuracy ") for text in printed]  # of a run that was finished before it is no line's start
    assert sum(trained) == 2, printed
    assert {state.state for state in states(tmp_path)} == {"done"}
    assert "not run: process" in printed[1]
    assert str(folder) in printed[1]


def test_a_search_reads_held_out_images_and_finished_runs(tmp_path: Path) -> None:
    search = ("hydra/sweeper=search", "hydra.sweeper.n_trials=2", "loss=logitnorm", "loss.tau=choice(0.02)")
    arguments = (*search, "validation.images=80", "recipe.epochs=1")
    process = sweep(tmp_path, *arguments)
    printed = done(process)
    assert process.returncode == 0, printed
    assert "finished already" in printed  # the second trial had the only value there is again
    (file,) = tmp_path.rglob("metrics.json")
    numbers = json.loads(file.read_text())
    found = yaml.safe_load((tmp_path / "runs" / "optimization_results.yaml").read_text())
    assert found == {
        "name": "optuna",
        "best_params": {"loss.tau": 0.02},
        "best_value": numbers["validation"]["ood"]["ood_score"]["auroc"],
    }
    assert "[1] loss.tau=0.02\n" in printed
    assert printed.count(f"\nood.ood_score.auroc on held-out images: {found['best_value']:.4f}\n") == 2
    assert printed.rstrip().endswith(f"{tmp_path}/runs/optimization_results.yaml")
    assert found["best_value"] != numbers["ood"]["unseen_digits"]["ood_score"]["auroc"]


def test_a_sweep_with_a_failing_run_runs_the_others(tmp_path: Path) -> None:
    process = sweep(tmp_path, "loss=ce,circle", "recipe.optimizer.lr=0.01,1e30", "recipe.epochs=1")
    printed = done(process)
    assert process.returncode == 1
    table = printed[printed.index("\nrun ") :]
    assert "2 done, 0 running, 2 failed, 0 stopped" in table
    assert table.count("FloatingPointError: the loss is") == 2
    errors = list(tmp_path.rglob("error.txt"))
    assert len(errors) == 2
    assert all("Traceback" in error.read_text() for error in errors)
    assert all(error.read_text().startswith("FloatingPointError: the loss is") for error in errors)
