"""Two processes train as one does: every loss, the odd image of the last batch, stops, errors, and the command line."""

import multiprocessing
import os
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
from helpers.bare import Plain
from helpers.cli import command, folders, started
from helpers.config import ROOT
from helpers.training import IMAGES, LABELS, LOSSES, RECIPE, Told, classifier, numbers
from torch import nn

from oodbench.backbones.resnet18 import ResNet18
from oodbench.training.checkpoint import FileCheckpointer, load_checkpoint
from oodbench.training.device import acquire_devices
from oodbench.training.distributed import (
    all_reduce_max,
    gather,
    launch_workers,
    process_group,
    rank,
    shard,
    sync_batch_norm,
    world_size,
)
from oodbench.training.loop import TrainState, fit

RECIPE = replace(RECIPE, epochs=3)
N = 49  # in batches of 16: of the last one, of one image, the first process has none
LOSSES = [*LOSSES, "loss=circle loss.variant=pairwise_per_anchor", "loss=ce loss.label_smoothing=0.1"]
State = dict[str, Any]
Task = Callable[..., State]


def serve(number: int, meeting: Path, line: Connection) -> None:
    """Be one of two processes and do what is asked for, so that torch is imported once."""
    torch.set_num_threads(1)
    with process_group(number, 2, meeting, "gloo"):
        while True:
            task, arguments = line.recv()
            if task is None:
                return
            line.send(task(*arguments))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[State]]]:
    """What a task gives in each of two processes that train together."""
    context = multiprocessing.get_context("forkserver")
    meeting = tmp_path_factory.mktemp("both") / "meeting"
    lines = [context.Pipe() for _ in range(2)]
    ranks = [context.Process(target=serve, args=(i, meeting, lines[i][1]), daemon=True) for i in range(2)]
    for process, (_, theirs) in zip(ranks, lines, strict=True):
        process.start()
        theirs.close()  # so that a process that dies is heard of

    def ask(task: Task | None, *arguments: Any) -> list[State]:
        for ours, _ in lines:
            ours.send((task, arguments))
        return [ours.recv() for ours, _ in lines] if task else []

    yield ask
    ask(None)
    for process in ranks:
        process.join()


def dropping() -> nn.Module:
    """With noise of its own, which a resumed training has to meet again."""
    backbone = Plain(4)
    backbone.append(nn.Dropout(0.2))
    return backbone


def arrays(progress: TrainState) -> State:
    momenta = [state["momentum_buffer"] for state in progress.optimizer["state"].values()]
    state = {**progress.model, **{f"momentum {i}": value for i, value in enumerate(momenta)}}
    return {name: value.numpy().copy() for name, value in state.items()} | {"history": numbers(progress.history)}


def trained(loss: str, backbone: Callable[[], nn.Module] = lambda: Plain(4)) -> State:
    model, saved = classifier(loss, backbone=backbone), list[TrainState]()
    keeper = Told(lambda progress: saved.append(deepcopy(progress)))
    fit(model, IMAGES[:N], LABELS[:N], RECIPE, 0, None, keeper)
    return arrays(saved[-1])


def trained_by_both(loss: str) -> State:
    return trained(loss)


def same(a: State, b: State) -> bool:
    equal = all(np.array_equal(a[name], b[name], equal_nan=True) for name in a if name != "history")
    return a.keys() == b.keys() and equal and repr(a["history"]) == repr(b["history"])


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_train_as_one_does(loss: str, both: Callable[..., list[State]]) -> None:
    alone, (first, second) = trained(loss), both(trained_by_both, loss)
    assert same(first, second)  # to the bit
    for name in alone.keys() - {"history"}:
        np.testing.assert_allclose(first[name], alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
    for row, expected in zip(first["history"], alone["history"], strict=True):
        assert row == pytest.approx(expected, rel=1e-4, nan_ok=True)


def masks() -> State:
    """What dropout lets through of a step's share, 8 of 16 images."""
    seen: list[Any] = []

    def watched() -> nn.Module:
        backbone = dropping()
        backbone[-1].register_forward_hook(lambda module, x, y: seen.append((y == 0).numpy()))  # type: ignore[operator]
        return backbone

    trained("loss=ce", watched)
    return {"seen": seen}


def test_every_process_has_a_dropout_of_its_own(both: Callable[..., list[State]]) -> None:
    first, second = (answer["seen"] for answer in both(masks))
    assert [len(mask) for mask in first[:4]] == [8, 8, 8, 0]
    assert [len(mask) for mask in second[:4]] == [8, 8, 8, 1]
    assert not np.array_equal(first[0], second[0])


def life(file: Path, signalled: int | None) -> State:
    """Train from the checkpoint; a signal is seen by the second process alone, and asked for in that step."""
    steps: list[int] = []

    def seen() -> int:
        steps.append(1)
        return 15 if rank() == 1 and len(steps) == signalled else 0

    logged: list[Any] = []
    path = file.with_name(f"{file.name}{rank() or ''}")  # of the second: where nothing must be
    keeper = FileCheckpointer(path, "abc", 1.0, RECIPE.epochs, seen, logged.append)
    model = classifier("loss=ghm", backbone=dropping)
    history = fit(model, IMAGES[:N], LABELS[:N], RECIPE, 0, load_checkpoint(file, "abc"), keeper)
    return {"epochs": len(history), "stopped_by": keeper.stopped_by, "steps": len(steps), "logged": len(logged)}


@pytest.mark.parametrize("signalled", [6, 8])  # amid an epoch, after one
def test_a_signal_that_one_has_seen_stops_both_and_they_go_on_to_the_same_bits(
    signalled: int, both: Callable[..., list[State]], tmp_path: Path
) -> None:
    straight, file = tmp_path / "straight.pt", tmp_path / "stopped.pt"
    both(life, straight, None)
    stopped = both(life, file, signalled)
    epochs = signalled // 4
    assert [answer["logged"] for answer in stopped] == [epochs, 0]
    assert all((a["epochs"], a["stopped_by"], a["steps"]) == (epochs, 15, signalled) for a in stopped)
    rest = both(life, file, None)
    assert [answer["steps"] for answer in rest] == [12 - signalled] * 2
    ends = [load_checkpoint(path, "abc") for path in (straight, file)]
    assert ends[0]
    assert ends[1]
    assert same(arrays(ends[0]), arrays(ends[1]))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}{previous}.pt" for name in ("straight", "stopped") for previous in ("", ".previous")
    }


def test_alone_nothing_is_shared() -> None:
    features = torch.rand(5, 3)
    assert gather(features, 5) is features
    assert (world_size(), rank(), shard(5), all_reduce_max(15), all_reduce_max(0)) == (1, 0, slice(0, 5), 15, 0)


def test_batch_norm_over_several_processes_is_refused_on_a_cpu_and_torchs_own_on_cuda() -> None:
    plain, backbone = Plain(4), ResNet18(width=4)
    assert sync_batch_norm(plain, torch.device("cpu")) is plain
    with pytest.raises(ValueError, match=r"on a cpu.*batch norm.*bn1 and 19 more places; devices=1"):
        sync_batch_norm(backbone, torch.device("cpu"))
    keys, images = backbone.state_dict().keys(), torch.rand(3, 3, 32, 32)
    expected = backbone.eval()(images)
    on_cuda = sync_batch_norm(backbone, torch.device("cuda"))
    assert sum(isinstance(module, nn.SyncBatchNorm) for module in on_cuda.modules()) == 20
    assert on_cuda.state_dict().keys() == keys
    assert torch.equal(on_cuda.eval()(images), expected)


def test_several_gpus_are_not_one_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.training.device.pick_device", torch.device)
    for name in ("cuda:1", "mps"):
        with (
            pytest.raises(ValueError, match=rf"devices=2 device={name}.*device=cuda or cpu"),
            acquire_devices(name, 1, 2),
        ):
            pass
    with acquire_devices("cuda:1", 1, 1) as one, acquire_devices("cpu", 1, 2) as two:
        assert (one, two) == ([torch.device("cuda:1")], [torch.device("cpu")] * 2)


def scripted(script: str) -> None:
    """`together`, of two processes without torch that know `rank`, `folder` and what to import."""
    known = "import os, sys, time; from pathlib import Path; rank, folder = sys.argv[1], Path(sys.argv[3])\n"
    launch_workers([sys.executable, "-c", known + script], [torch.device("cpu")] * 2)


def test_the_first_error_is_told_and_ends_the_others() -> None:
    scripted("assert sys.argv[2:5:2] == ['2', 'cpu']")
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"2 processes.*failed(.|\n)*no room"):
        scripted("time.sleep(60) if rank == '0' else [(folder / 'error').write_text('no room'), os._exit(1)]")
    with pytest.raises(RuntimeError, match=r"-9(.|\n)*without a word"):
        scripted("time.sleep(60) if rank == '1' else os.kill(os.getpid(), 9)")
    assert time.monotonic() - began < 30


def test_an_error_of_one_reaches_the_parent_while_the_other_waits_for_it() -> None:
    script = "from oodbench.training.distributed import agreed, member\nwith member(*sys.argv[1:]):\n"
    with pytest.raises(RuntimeError, match="FloatingPointError: it burns"):
        scripted(script + "    if rank == '1': raise FloatingPointError('it burns')\n    agreed(0)")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_waited_for(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
    timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
    timer.start()
    try:
        with pytest.raises(SystemExit) as stopped:
            scripted("got = os.read(0, 1)[0]; time.sleep(0.5 * (rank == '0')); sys.exit(128 + got)")
    finally:
        timer.join()
        signal.signal(number, before)
    assert stopped.value.code == 128 + number


def test_a_process_whose_parent_has_died_writes_nothing_any_more() -> None:
    imports = "import threading, time; import oodbench.training.distributed as p"
    script = f"{imports}; threading.Thread(target=p._listen).start(); time.sleep(60)"
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=50, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")


RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=40", "recipe.batch_size=63", "dataset.limit=200", "device=cpu"]
RUN += ["dataset.limit_test=80", "precision=fp32", "ood=[noise]", "backbone._target_=bare.Plain", "backbone.width=4"]
RUN += ["threads=1", "loss=ghm"]


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OODBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests'}:{os.environ.get('PYTHONPATH', '')}")
    for name in ("RANK", "WORLD_SIZE", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.setenv(name, "7")  # another launcher's: it says nothing about these two


@pytest.mark.usefixtures("_elsewhere")
def test_a_run_by_two_is_told_to_end_goes_on_and_is_the_run_by_one(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    process = subprocess.Popen(command(*RUN, "devices=2", f"results_dir={two}"), stdout=subprocess.PIPE, text=True)
    while not list(two.glob("runs/*/*/*/*/*/checkpoint.pt")):
        assert process.poll() is None
        time.sleep(0.02)
    process.terminate()
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 143, printed
    assert printed.count("stopped and saved; the same command, without force, goes on from there") == 1
    (folder,) = folders(two)
    assert not list(folder.glob("model.safetensors")) + list(folder.glob("error.txt"))
    started(*RUN, "devices=2", f"results_dir={two}")
    started(*RUN, f"results_dir={one}")
    (alone,) = folders(one)
    assert alone.relative_to(one) == folder.relative_to(two)  # how many there are is not in the hash
    files = [{str(path.relative_to(run)) for path in run.rglob("*")} for run in (alone, folder)]
    assert files[0] == files[1]
    rows = [
        np.array([line.split(",")[:3] for line in (run / "train.csv").open()][1:], float) for run in (alone, folder)
    ]
    assert len(rows[0]) == len(rows[1]) == 40
    np.testing.assert_allclose(rows[0][:5], rows[1][:5], rtol=1e-3)  # later, rounding has grown
    assert '"devices": 2' in (folder / "metrics.json").read_text()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["devices=0"], "devices=0"),
        (["devices=2", "compile=true"], "not been tried"),
        (["devices=2", "backbone._target_=oodbench.backbones.ResNet18"], "batch norm"),
    ],
)
@pytest.mark.usefixtures("_elsewhere")
def test_what_several_devices_cannot_do_is_said_before_anything_is_trained(
    overrides: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        started(*RUN, *overrides, f"results_dir={tmp_path}")
    assert not folders(tmp_path)
