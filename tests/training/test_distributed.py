"""Two processes train as one does: every loss, the odd image of the last batch, stops, errors, and the command line."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import training
from helpers.bare import Plain
from helpers.cli import command, folders, started
from helpers.config import ROOT
from helpers.training import IMAGES, LABELS, SOURCE, FixedAnswers, classifier, without_times
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from oodbench.backbones import ResNet18
from oodbench.training import distributed
from oodbench.training.checkpoint import FileCheckpointer, load_checkpoint
from oodbench.training.distributed import (
    all_reduce_max,
    broadcast_weights,
    check_batch_norm,
    gather,
    launch_workers,
    process_group,
    rank,
    shard,
    sum_gradients,
    world_size,
)
from oodbench.training.loop import TrainState, fit

RECIPE = replace(training.RECIPE, epochs=3)
N = 49  # in batches of 16: of the last one, of one image, the first process has none
LOSSES = [*training.LOSSES, "loss=ce loss.label_smoothing=0.1"]
State = dict[str, Any]
Task = Callable[..., State]


# one process


def test_one_process_shares_nothing() -> None:
    features = torch.rand(5, 3)
    assert gather(features, 5) is features
    assert (world_size(), rank(), shard(5), all_reduce_max(15), all_reduce_max(0)) == (1, 0, slice(0, 5), 15, 0)


def test_one_process_leaves_its_gradients_alone() -> None:
    linear = nn.Linear(2, 2)
    linear(torch.ones(1, 2)).sum().backward()
    gradients = [p.grad for p in linear.parameters()]
    sum_gradients(linear, nn.Identity())
    assert all(p.grad is gradient for p, gradient in zip(linear.parameters(), gradients, strict=True))


@given(st.integers(0, 300), st.integers(1, 9))
def test_shards_are_the_batch_in_its_order(n: int, count: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "world_size", lambda: count)
        shards = []
        for number in range(count):
            patch.setattr(distributed, "rank", lambda number=number: number)
            shards.append(list(range(n))[shard(n)])
    assert [row for rows in shards for row in rows] == list(range(n))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_batch_norm_over_several_processes_needs_cuda() -> None:
    check_batch_norm(Plain(4), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"on a cpu.*batch norm.*bn1 and 19 more places; devices=1"):
        check_batch_norm(ResNet18(width=4), torch.device("cpu"))


def test_batch_norm_is_converted_and_nothing_else_changes() -> None:
    backbone = ResNet18(width=4).eval()
    keys, images = backbone.state_dict().keys(), torch.rand(3, 3, 32, 32)
    expected = backbone(images)
    check_batch_norm(backbone, torch.device("cuda"))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(backbone)
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in converted.modules()) == 20
    assert converted.state_dict().keys() == keys
    assert torch.equal(converted.eval()(images), expected)


def test_batch_norm_with_an_activation_is_refused() -> None:
    """torch would convert it and drop the activation: another network, with the same keys."""

    class WithReLU(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).relu()

    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), WithReLU(4))
    with pytest.raises(ValueError, match=r"1 of the backbone is a WithReLU.*devices=1"):
        check_batch_norm(backbone, torch.device("cuda"))


# launching and ending processes


def launch_script(script: str) -> None:
    """Launch two processes without torch that know `rank`, `folder` and what to import."""
    known = "import os, sys, time; from pathlib import Path; rank, folder = sys.argv[1], Path(sys.argv[3])\n"
    launch_workers([sys.executable, "-c", known + script], [torch.device("cpu")] * 2)


def test_workers_know_their_number_count_and_device() -> None:
    launch_script("assert sys.argv[1] in '01' and sys.argv[2:5:2] == ['2', 'cpu']")


def test_the_first_error_is_reported_and_ends_the_others() -> None:
    began = time.monotonic()
    written = "no room\n\ntraceback"
    with pytest.raises(RuntimeError) as raised:
        launch_script(f"time.sleep(60) if rank == '0' else [(folder / 'error').write_text({written!r}), os._exit(1)]")
    assert str(raised.value) == "one of 2 processes failed: no room"
    assert raised.value.__notes__ == ["traceback"]
    with pytest.raises(RuntimeError, match=r"no error was reported, exit codes \[-9, None\]"):
        launch_script("time.sleep(60) if rank == '1' else os.kill(os.getpid(), 9)")
    assert time.monotonic() - began < 30  # not the other's 60 s


@pytest.mark.slow
def test_an_error_of_one_is_reported_while_the_other_waits() -> None:
    script = "from oodbench.training.distributed import all_reduce_max, worker\nwith worker(*sys.argv[1:]):\n"
    with pytest.raises(RuntimeError, match="FloatingPointError: it burns") as raised:
        launch_script(script + "    if rank == '1': raise FloatingPointError('it burns')\n    all_reduce_max(0)")
    assert str(raised.value) == "one of 2 processes failed: FloatingPointError: it burns"


@pytest.mark.slow  # a second or two each
@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGTERM, "128 + got"), (signal.SIGINT, "128 + got"), (signal.SIGTERM, "0")]
)
def test_a_signal_is_passed_on_and_waited_for(number: signal.Signals, ends: str) -> None:
    """Also where it comes after the last step, so that the processes end as if there were none."""
    before = signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
    timer.start()
    try:
        with pytest.raises(SystemExit) as stopped:
            launch_script("got = os.read(0, 1)[0]; time.sleep(0.5 * (rank == '0')); sys.exit(" + ends + ")")
    finally:
        timer.join()
        signal.signal(number, before)
    assert stopped.value.code == 128 + number


@pytest.mark.slow
def test_a_worker_whose_parent_died_writes_nothing() -> None:
    imports = "import threading, time; import oodbench.training.distributed as p"
    script = f"{imports}; threading.Thread(target=p._listen).start(); time.sleep(60)"
    line = [sys.executable, "-c", script]
    ended = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=50, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")


# training by two processes


def serve(number: int, meeting: Path, line: Connection) -> None:
    """Be one of two processes and do the tasks that arrive, so that torch is imported once."""
    torch.set_num_threads(1)
    with process_group(number, 2, meeting, "gloo"):
        while True:
            task, arguments = line.recv()
            if task is None:
                return
            line.send(task(*arguments))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[State]]]:
    """Give a function that runs a task in two processes of one group and returns both results."""
    context = multiprocessing.get_context("forkserver")
    meeting = tmp_path_factory.mktemp("both") / "meeting"
    lines = [context.Pipe() for _ in range(2)]
    ranks = [context.Process(target=serve, args=(i, meeting, lines[i][1]), daemon=True) for i in range(2)]
    for process, (_, theirs) in zip(ranks, lines, strict=True):
        process.start()
        theirs.close()  # so that recv raises when a process dies

    def ask(task: Task | None, *arguments: Any) -> list[State]:
        for ours, _ in lines:
            ours.send((task, arguments))
        return [ours.recv() for ours, _ in lines] if task else []

    yield ask
    ask(None)
    for process in ranks:
        process.join()


def with_dropout() -> nn.Module:
    """A backbone that draws random numbers, which a resumed training has to draw again."""
    backbone = Plain(4)
    backbone.append(nn.Dropout(0.2))
    return backbone


def arrays(state: TrainState) -> State:
    momenta = [of_parameter["momentum_buffer"] for of_parameter in state.optimizer["state"].values()]
    tensors = {**state.model, **{f"momentum {i}": value for i, value in enumerate(momenta)}}
    return {name: value.numpy().copy() for name, value in tensors.items()} | {"history": without_times(state.history)}


def trained(loss: str, backbone: Callable[[], nn.Module] = lambda: Plain(4)) -> State:
    model, saved = classifier(loss, backbone=backbone), list[TrainState]()
    checkpointer = FixedAnswers(lambda state: saved.append(deepcopy(state)))
    fit(model, IMAGES[:N], LABELS[:N], RECIPE, 0, None, checkpointer)
    return arrays(saved[-1])


def trained_by_both(loss: str) -> State:
    return trained(loss)


def same(a: State, b: State) -> bool:
    equal = all(np.array_equal(a[name], b[name], equal_nan=True) for name in a if name != "history")
    return a.keys() == b.keys() and equal and repr(a["history"]) == repr(b["history"])


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_train_as_one_does(loss: str, both: Callable[..., list[State]]) -> None:
    alone, (first, second) = trained(loss), both(trained_by_both, loss)
    assert same(first, second)  # to the bit
    for name in alone.keys() - {"history"}:
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for row, expected in zip(first["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-4, nan_ok=True)


def dropout_masks() -> State:
    """The features that dropout zeroes in each step's shard, 8 of 16 images."""
    masks: list[Any] = []

    def recording() -> nn.Module:
        backbone = with_dropout()
        backbone[-1].register_forward_hook(lambda module, x, y: masks.append((y == 0).numpy()))  # type: ignore[operator]
        return backbone

    trained("loss=ce", recording)
    return {"masks": masks}


@pytest.mark.slow
def test_every_process_has_its_own_dropout(both: Callable[..., list[State]]) -> None:
    first, second = (answer["masks"] for answer in both(dropout_masks))
    assert [len(mask) for mask in first[:4]] == [8, 8, 8, 0]
    assert [len(mask) for mask in second[:4]] == [8, 8, 8, 1]
    assert not np.array_equal(first[0], second[0])


def other_weights() -> State:
    torch.manual_seed(rank())
    model = nn.Linear(2, 2)
    broadcast_weights(model)
    return {"weight": model.weight.detach().numpy(), "largest": all_reduce_max(rank())}


@pytest.mark.slow
def test_every_process_gets_the_weights_of_the_first(both: Callable[..., list[State]]) -> None:
    first, second = both(other_weights)
    torch.manual_seed(0)
    assert np.array_equal(first["weight"], nn.Linear(2, 2).weight.detach().numpy())
    assert np.array_equal(first["weight"], second["weight"])
    assert [first["largest"], second["largest"]] == [1, 1]


def start(file: Path, signalled: int | None) -> State:
    """Train from the checkpoint; a signal reaches the second process alone, in that step of this start."""
    steps: list[int] = []

    def seen() -> int:
        steps.append(1)
        return 15 if rank() == 1 and len(steps) == signalled else 0

    logged: list[Any] = []
    path = file.with_name(f"{file.name}{rank() or ''}")  # of the second: a file that must not appear
    checkpointer = FileCheckpointer(path, SOURCE, 1.0, RECIPE.epochs, seen, logged.append)
    model = classifier("loss=ghm", backbone=with_dropout)
    history = fit(model, IMAGES[:N], LABELS[:N], RECIPE, 0, load_checkpoint(file, SOURCE)[0], checkpointer)
    return {
        "epochs": len(history), "stopped_by": checkpointer.stopped_by, "steps": len(steps), "logged": len(logged)
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [6, 8])  # amid an epoch, after one
def test_a_signal_to_one_stops_both_and_they_resume(
    signalled: int, both: Callable[..., list[State]], tmp_path: Path
) -> None:
    straight, file = tmp_path / "straight.pt", tmp_path / "stopped.pt"
    both(start, straight, None)
    stopped = both(start, file, signalled)
    epochs = signalled // 4
    assert [answer["logged"] for answer in stopped] == [epochs, 0]
    assert all((a["epochs"], a["stopped_by"], a["steps"]) == (epochs, 15, signalled) for a in stopped)
    rest = both(start, file, None)
    assert [answer["steps"] for answer in rest] == [12 - signalled] * 2
    ends = [load_checkpoint(path, SOURCE)[0] for path in (straight, file)]
    assert ends[0]
    assert ends[1]
    assert same(arrays(ends[0]), arrays(ends[1]))  # to the bit
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}{previous}.pt" for name in ("straight", "stopped") for previous in ("", ".previous")
    }


# the command line

RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=40", "recipe.batch_size=63", "dataset.limit=200", "device=cpu"]
RUN += ["dataset.limit_test=80", "precision=fp32", "ood=[noise]", "backbone._target_=helpers.bare.Plain"]
RUN += ["backbone.width=4", "threads=1", "loss=ghm"]


@pytest.fixture
def _environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}")
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.setenv(name, "7")  # another launcher's, which must not count


@pytest.mark.slow
@pytest.mark.usefixtures("_environment")
def test_a_run_by_two_stops_resumes_and_equals_a_run_by_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    process = subprocess.Popen(command(*RUN, "devices=2", f"results_dir={two}"), stdout=subprocess.PIPE, text=True)
    while not list(two.glob("runs/*/*/*/*/*/checkpoint.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    assert printed.count("stopped and saved; the same command, without force, continues from there") == 1
    (folder,) = folders(two)
    assert not list(folder.glob("model.safetensors")) + list(folder.glob("error.txt"))
    started(*RUN, "devices=2", f"results_dir={two}")
    started(*RUN, f"results_dir={one}")
    (alone,) = folders(one)
    assert alone.relative_to(one) == folder.relative_to(two)  # `devices` does not count in the hash
    files = [
        {re.sub(r"resamples-\w+", "resamples", str(path.relative_to(run))) for path in run.rglob("*")}
        for run in (alone, folder)
    ]
    assert files[0] == files[1]
    rows = [
        np.array([line.split(",")[1:4] for line in (run / "train.csv").open()][1:], float) for run in (alone, folder)
    ]
    assert len(rows[0]) == len(rows[1]) == 40
    np.testing.assert_allclose(rows[0][:5], rows[1][:5], rtol=1e-3)  # later, rounding has grown
    assert '"devices": 2' in (folder / "metrics.json").read_text()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["devices=0"], "devices=0"),
        (["devices=2", "compile=true"], "not tried together"),
        (["devices=2", "backbone._target_=oodbench.backbones.ResNet18"], "batch norm"),
    ],
)
@pytest.mark.usefixtures("_environment")
def test_what_several_devices_cannot_do_is_said_first(overrides: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, SystemExit), match=says):
        started(*RUN, *overrides, f"results_dir={tmp_path}")
    assert not folders(tmp_path)
