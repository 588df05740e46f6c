"""No cell is run by two processes at once, a dead one's cell is free again, and what became of each can be seen."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from oodbench.runs.folder import leaving_traceback
from oodbench.runs.lock import STALE_AFTER, LockedError, owner, run_by_workers, run_lock
from oodbench.runs.signals import ending, stop_signal
from oodbench.runs.status import duration, state_of, states, table
from oodbench.storage import UnwritableError, check_writable

fork = multiprocessing.get_context("fork")  # spawn would import torch in every process


def hold(folder: Path) -> None:
    with run_lock(folder):
        time.sleep(60)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """The number of another process, which holds the claim on tmp_path."""
    process = fork.Process(target=hold, args=(tmp_path,), daemon=True)
    process.start()
    while not owner(tmp_path):
        time.sleep(0.01)
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join()


def test_a_claim_keeps_others_out_while_it_lasts_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        run_lock(tmp_path),
        pytest.raises(LockedError, match=f"process {os.getpid()} .*{tmp_path}"),
        run_lock(tmp_path),
    ):
        pytest.fail("claimed twice")
    with run_lock(tmp_path):
        assert owner(tmp_path) is not None
    assert [path.name for path in tmp_path.iterdir()] == [".claim.lock"]


def test_a_living_process_keeps_its_claim_and_a_killed_one_loses_it(tmp_path: Path, held: int) -> None:
    with pytest.raises(LockedError, match=f"process {held} on"), run_lock(tmp_path):
        pytest.fail("taken from a living process")
    os.kill(held, signal.SIGKILL)
    while owner(tmp_path):
        time.sleep(0.01)
    assert (tmp_path / "claim.json").exists()
    with run_lock(tmp_path):
        who = owner(tmp_path)
        assert who is not None
        assert who["pid"] == os.getpid()


def test_a_number_that_was_given_to_another_process_is_no_owner(tmp_path: Path, held: int) -> None:
    who = json.loads((tmp_path / "claim.json").read_text())
    (tmp_path / "claim.json").write_text(json.dumps(who | {"born": "1"}))
    assert owner(tmp_path) is None


@pytest.mark.parametrize(("silent_for", "alive"), [(STALE_AFTER - 60, True), (STALE_AFTER + 60, False)])
def test_an_owner_on_another_machine_lives_while_it_touches_its_claim(
    tmp_path: Path, silent_for: float, alive: bool
) -> None:
    file = tmp_path / "claim.json"
    file.write_text(json.dumps({"host": "elsewhere", "pid": 1, "place": "elsewhere", "born": "1"}))
    os.utime(file, (time.time() - silent_for,) * 2)
    assert (owner(tmp_path) is not None) == alive


def compete(folder: Path, together: Barrier, won: Path) -> None:
    together.wait()
    try:
        with run_lock(folder):
            (won / str(os.getpid())).touch()
            together.wait()  # until all others have been refused
    except LockedError:
        together.wait()


def test_of_many_that_find_a_dead_owners_claim_one_takes_it_over(tmp_path: Path) -> None:
    for attempt in range(5):
        folder, won = tmp_path / f"cell{attempt}", tmp_path / f"won{attempt}"
        folder.mkdir()
        won.mkdir()
        dead = {"host": "elsewhere", "pid": 1, "place": "elsewhere", "born": "1"}
        (folder / "claim.json").write_text(json.dumps(dead))
        os.utime(folder / "claim.json", (0, 0))
        together = fork.Barrier(6)
        processes = [fork.Process(target=compete, args=(folder, together, won)) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert len(list(won.iterdir())) == 1


def test_a_failure_leaves_its_traceback_and_the_next_start_takes_it_away(tmp_path: Path) -> None:
    def fail() -> None:
        raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError), leaving_traceback(tmp_path):
        fail()
    assert "in fail" in (tmp_path / "error.txt").read_text()
    with leaving_traceback(tmp_path):
        assert not (tmp_path / "error.txt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_once_and_a_second_one_acts_as_always(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signal() as stop:
        assert stop() == 0
        os.kill(os.getpid(), number)
        assert stop() == number
        assert signal.getsignal(number) == before
    assert signal.getsignal(number) == before


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        theirs = signal.getsignal(signal.SIGTERM)
        with stop_signal():
            assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_status_of_every_run_is_seen(tmp_path: Path) -> None:
    cells = {name: tmp_path / f"runs/digits/resnet18/{name}/short-abc/seed0" for name in ("a", "b", "c", "d")}
    for folder in cells.values():
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text("recipe: {epochs: 4}\n")
    (cells["a"] / "metrics.json").write_text("{}")
    (cells["a"] / "train.csv").write_text("epoch\n1\n2\n3\n4\n")
    (cells["b"] / "error.txt").write_text("Traceback\nFloatingPointError: the loss is nan\n")
    (cells["c"] / "train.csv").write_text("epoch\n1\n")
    with run_lock(cells["d"]):
        rows = states(tmp_path)
    assert [(row.state, row.epochs_done, row.epochs) for row in rows] == [
        ("done", 4, 4),
        ("failed", 0, 4),
        ("stopped", 1, 4),
        ("running", 0, 4),
    ]
    assert rows[1].note == "FloatingPointError: the loss is nan"
    assert table(rows).endswith("1 done, 1 running, 1 failed, 1 stopped")
    assert rows[3].note.startswith("for 0 s, process ")


def test_a_run_that_was_never_started_is_missing_and_still_is_when_it_was_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "runs/digits/resnet18/ce/short-abc/seed0"
    row = state_of(folder, tmp_path, done=False)
    assert (row.state, row.epochs_done, row.note) == ("missing", 0, "the same command starts it")
    assert table([row]).endswith("0 done, 0 running, 0 failed, 0 stopped, 1 missing")
    assert list(tmp_path.iterdir()) == []


def test_a_running_cell_tells_since_when_and_other_files_do_not_change_that(tmp_path: Path) -> None:
    folder = tmp_path / "runs/digits/resnet18/ce/short-abc/seed0"
    before = time.time()
    with run_lock(folder):
        who = owner(folder)
        assert who is not None
        assert before <= who["since"] <= time.time()
        (folder / "claim.json").write_text(json.dumps(who | {"since": who["since"] - 600}))
        row = state_of(folder, tmp_path, done=False)
    assert (row.state, row.note) == ("running", f"for 10 min, process {who['pid']} on {who['host']}")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize("content", [b"recipe: [", b"\xff", b"- 1", b"recipe: 3", b""])
def test_a_configuration_that_cannot_be_read_hides_no_other_run(tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "runs/digits/resnet18/ce/short-abc/seed0"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_bytes(content)
    (folder / "error.txt").write_bytes(b"\xff\n")
    assert [(row.state, row.epochs) for row in states(tmp_path)] == [("failed", 0)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_for_writing_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UnwritableError, match=r"cannot write .*Permission denied"), run_lock(tmp_path / "cell"):
        pytest.fail("claimed")
    tmp_path.chmod(0o755)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    says = f"cannot write {tmp_path}/results/.*Not a directory"
    with pytest.raises(UnwritableError, match=says), run_lock(tmp_path / "results" / "cell"):
        pytest.fail("claimed")
    with pytest.raises(UnwritableError, match="cannot write"):
        check_writable(tmp_path / "results" / "runs")


def test_only_workers_of_this_process_are_its_workers(tmp_path: Path, held: int) -> None:
    assert run_by_workers([tmp_path, tmp_path / "none"]) == {(held, tmp_path)}
    who = json.loads((tmp_path / "claim.json").read_text())
    (tmp_path / "claim.json").write_text(json.dumps(who | {"place": "elsewhere"}))
    assert owner(tmp_path) is not None  # a process of the same number on another machine
    assert run_by_workers([tmp_path]) == set()
    with run_lock(tmp_path / "mine"):
        assert run_by_workers([tmp_path / "mine"]) == set()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_outside_of_a_training_a_signal_ends_the_process_after_its_workers(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    worker = fork.Process(target=time.sleep, args=(60,))
    worker.start()
    assert worker.pid is not None
    pid = worker.pid

    def train_and_then_wait() -> None:
        with stop_signal() as stop:  # which takes its place meanwhile
            os.kill(os.getpid(), number)
            assert stop() == number
            assert worker.is_alive()
        os.kill(os.getpid(), number)
        time.sleep(60)

    with pytest.raises(SystemExit) as end, ending(lambda: {(pid, "cell")} if worker.is_alive() else set()):
        train_and_then_wait()
    assert end.value.code == 128 + number
    assert worker.exitcode == -signal.SIGTERM
    assert signal.getsignal(number) == before
