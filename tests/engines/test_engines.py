"""The same grid by joblib, by submitit and by Optuna: killed half-way, repeated, preempted; places on GPUs."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.config import ROOT

from oodbench.runs.lock import owner
from oodbench.runs.status import states
from oodbench.training.gpus import acquire_gpus

RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=12", "recipe.batch_size=64", "backbone.width=4", "device=cpu"]
RUN += ["precision=fp32", "dataset.limit=200", "dataset.limit_test=80", "ood=[unseen_digits]", "checkpoint_share=1.0"]
RUN += ["recipe.optimizer.lr=0.01", "threads=1"]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def sweep(results: Path, *overrides: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *RUN, f"results_dir={results}", *overrides]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=listen_to_ctrl_c
    )


def listen_to_ctrl_c() -> None:
    """A shell's background jobs, of which these tests may be one, do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def done(process: subprocess.Popen[str]) -> str:
    """What it printed until it ended."""
    printed, _ = process.communicate(timeout=300)
    return printed


def victim(results: Path, process: subprocess.Popen[str], loss: str) -> tuple[Path, int]:
    """The folder of that loss's run once it has a checkpoint, and the process that runs it."""
    while True:
        assert process.poll() is None, "ended before a cell could be killed:\n" + done(process)
        for file in results.glob(f"runs/*/*/{loss}/*/*/checkpoint.previous.pt"):
            who = owner(file.parent)
            if who and not (file.parent / "model.safetensors").exists():
                return file.parent, who["pid"]
        time.sleep(0.01)


def weights(results: Path) -> dict[str, bytes]:
    return {str(file.relative_to(results)): file.read_bytes() for file in results.rglob("model.safetensors")}


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid as Hydra runs it by itself: one cell after the other in one process."""
    results = tmp_path_factory.mktemp("straight")
    process = sweep(results, "loss=ce,ghm")
    assert "2 done, 0 running, 0 failed, 0 stopped" in done(process)
    assert process.returncode == 0
    return results


@pytest.mark.parametrize("launcher", ["local", "submitit_local"])
def test_a_grid_with_a_killed_cell_is_finished_by_the_same_command(
    launcher: str, straight: Path, tmp_path: Path
) -> None:
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


def test_a_job_that_submitit_preempts_goes_on_in_the_same_folder(straight: Path, tmp_path: Path) -> None:
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
def test_a_sweep_that_is_told_to_end_lets_its_cells_save_and_leaves_nobody_behind(
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
    assert not (folder / "claim.json").exists()  # it was given back, and not only its owner killed
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "2 done, 0 running, 0 failed, 0 stopped" in done(sweep(tmp_path, *arguments))
    assert weights(tmp_path) == weights(straight)


def test_a_cell_after_another_in_one_process_ends_like_one_alone(straight: Path, tmp_path: Path) -> None:
    alone = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *RUN, f"results_dir={tmp_path}", "loss=ghm"],
        capture_output=True,
        text=True,
        check=True,
    )
    (name,) = weights(tmp_path)
    assert weights(tmp_path)[name] == weights(straight)[name], alone.stdout  # after ce, in straight


def test_two_overlapping_sweeps_run_no_cell_twice(tmp_path: Path) -> None:
    one = sweep(tmp_path, "loss=ce,ghm", "recipe.epochs=60")
    folder, _ = victim(tmp_path, one, "ce")
    two = sweep(tmp_path, "loss=ce,ghm", "recipe.epochs=60")
    printed = [done(one), done(two)]
    trained = [text.count(f"\n\n{tmp_path}") for text in printed]  # a run that is through prints its folder last
    assert sum(trained) == 2, printed
    assert {state.state for state in states(tmp_path)} == {"done"}
    assert "not run: process" in printed[1]
    assert str(folder) in printed[1]


def test_a_search_reads_held_out_images_and_finished_trials_again(tmp_path: Path) -> None:
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
    assert found["best_value"] != numbers["ood"]["unseen_digits"]["ood_score"]["auroc"]


def test_a_sweep_with_a_failing_cell_runs_the_others_and_says_so(tmp_path: Path) -> None:
    process = sweep(tmp_path, "loss=ce,circle", "recipe.optimizer.lr=0.01,1e30", "recipe.epochs=1")
    printed = done(process)
    assert process.returncode == 1
    table = printed[printed.index("\nrun ") :]
    assert "2 done, 0 running, 2 failed, 0 stopped" in table
    assert table.count("FloatingPointError: the loss is") == 2
    errors = list(tmp_path.rglob("error.txt"))
    assert len(errors) == 2
    assert all("Traceback" in error.read_text() for error in errors)


def hold(folder: Path, gpus: list[str], runs_per_gpu: int, count: int, out: Any) -> None:
    with acquire_gpus(gpus, runs_per_gpu, count, folder) as indices:
        out.put(indices)
        time.sleep(60)


def test_runs_meet_on_a_gpu_only_when_it_is_asked_for(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    out = context.SimpleQueue()
    holders = [context.Process(target=hold, args=(tmp_path, ["a", "b"], 2, 1, out)) for _ in range(5)]
    taken = []
    for holder in holders[:4]:
        holder.start()
        taken.append(out.get())
    assert taken == [[0], [1], [0], [1]]  # both before either is shared
    holders[4].start()
    time.sleep(0.5)
    assert out.empty()
    holders[1].kill()  # the kernel gives its place back
    assert out.get() == [1]
    for holder in holders:
        holder.kill()
        holder.join()


def test_a_place_is_given_back_and_less_than_one_run_a_gpu_is_refused(tmp_path: Path) -> None:
    taken: list[list[int]] = []
    body: Callable[[list[int]], None] = taken.append
    for _ in range(2):
        with acquire_gpus(["a"], 1, 1, tmp_path) as indices:
            body(indices)
    assert taken == [[0], [0]]
    with pytest.raises(ValueError, match="runs_per_gpu=0"), acquire_gpus(["a"], 0, 1, tmp_path):
        pass
    with pytest.raises(ValueError, match="devices=2: there are 1 GPUs"), acquire_gpus(["a"], 2, 2, tmp_path):
        pass


def test_a_run_that_wants_several_gpus_takes_all_of_them_or_none(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    out = context.SimpleQueue()
    one, two, other = (context.Process(target=hold, args=(tmp_path, ["a", "b"], 1, n, out)) for n in (1, 2, 1))
    one.start()
    assert out.get() == [0]
    two.start()
    time.sleep(0.5)
    other.start()
    assert out.get() == [1]  # which the one that needs both did not keep
    for holder in (one, other):
        holder.kill()
        holder.join()
    assert out.get() == [0, 1]
    two.kill()
    two.join()
