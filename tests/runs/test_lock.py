"""No run is worked on by two processes at once; a dead one's run is free again, whatever clocks and files say."""

import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from oodbench.runs import lock
from oodbench.runs.lock import STALE_AFTER, LockedError, Owner, owner, run_by_workers, run_lock
from oodbench.storage import UnwritableError, make_writable_folder

fork = multiprocessing.get_context("fork")  # spawn would import torch in every process
ELSEWHERE = Owner("elsewhere", "another boot", 1, "1", 1000.0)
LONG = STALE_AFTER + 60


def hold(folder: Path) -> None:
    with run_lock(folder):
        time.sleep(60)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[int]:
    """The number of another process, which holds the lock of tmp_path."""
    process = fork.Process(target=hold, args=(tmp_path,), daemon=True)
    process.start()
    while not owner(tmp_path):
        time.sleep(0.01)
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join()


@pytest.fixture
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch for tenths of a second."""
    monkeypatch.setattr(lock, "WATCH", 0.5)


def write_lock(folder: Path, who: Owner = ELSEWHERE, age: float = 0.0, **changes: Any) -> Path:
    """Write the lock of another process, last touched `age` seconds ago; return its file."""
    file = folder / "lock.json"
    file.write_text(json.dumps(who._replace(**changes)._asdict()))
    os.utime(file, (time.time() - age,) * 2)
    return file


def is_free(folder: Path) -> bool:
    try:
        with run_lock(folder):
            return True
    except LockedError:
        return False


def test_a_lock_keeps_others_out_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        run_lock(tmp_path),
        pytest.raises(LockedError, match=f"process {os.getpid()} .*{tmp_path}"),
        run_lock(tmp_path),
    ):
        pytest.fail("locked twice")
    with run_lock(tmp_path):
        assert owner(tmp_path) is not None
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_error_gives_the_lock_back(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), run_lock(tmp_path):
        raise ZeroDivisionError
    assert is_free(tmp_path)


def test_a_killed_process_loses_its_lock_and_a_living_one_not(tmp_path: Path, held: int) -> None:
    with pytest.raises(LockedError, match=f"process {held} on"), run_lock(tmp_path):
        pytest.fail("taken from a living process")
    os.kill(held, signal.SIGKILL)
    while owner(tmp_path):
        time.sleep(0.01)
    assert (tmp_path / "lock.json").exists()
    with run_lock(tmp_path):
        who = owner(tmp_path)
        assert who is not None
        assert who.pid == os.getpid()


def test_a_living_process_on_this_machine_may_be_silent(tmp_path: Path, held: int) -> None:
    os.utime(tmp_path / "lock.json", (0, 0))
    assert owner(tmp_path) is not None
    assert not is_free(tmp_path)


def test_a_number_that_was_given_to_another_process_is_no_owner(tmp_path: Path, held: int) -> None:
    who = Owner(**json.loads((tmp_path / "lock.json").read_text()))
    write_lock(tmp_path, who, start_time="1")
    assert owner(tmp_path) is None
    assert is_free(tmp_path)


@pytest.mark.parametrize(("age", "lives"), [(0, True), (STALE_AFTER - 60, True), (LONG, False), (-LONG, False)])
def test_an_owner_elsewhere_lives_while_it_touches_its_lock(tmp_path: Path, age: float, lives: bool) -> None:
    write_lock(tmp_path, age=age)
    assert (owner(tmp_path) is not None) == lives


def test_a_number_of_this_machine_on_another_boot_is_elsewhere(tmp_path: Path, held: int) -> None:
    """Host names and the numbers of processes repeat."""
    who = Owner(**json.loads((tmp_path / "lock.json").read_text()))
    write_lock(tmp_path, who, machine="another boot", start_time="1")
    assert owner(tmp_path) is not None
    assert not is_free(tmp_path)


@pytest.mark.usefixtures("short_watch")
@pytest.mark.parametrize("age", [LONG, -LONG], ids=["stale", "from the future"])
def test_a_lock_that_nobody_touches_is_void(tmp_path: Path, age: float) -> None:
    write_lock(tmp_path, age=age)
    assert is_free(tmp_path)


def touch(file: Path, age: float, write_anew: bool) -> None:
    while True:
        time.sleep(0.05)
        if write_anew:
            file.with_name("new").write_text(file.read_text())
            file.with_name("new").replace(file)
        age -= 0.05
        os.utime(file, (time.time() - age,) * 2)


@pytest.mark.parametrize(("age", "write_anew"), [(LONG, False), (-LONG, True)], ids=["clock behind", "clock ahead"])
def test_a_lock_that_somebody_touches_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: float, write_anew: bool
) -> None:
    """However far two machines' clocks are apart."""
    monkeypatch.setattr(lock, "WATCH", 5.0)
    file = write_lock(tmp_path, age=age)
    beating = fork.Process(target=touch, args=(file, age, write_anew), daemon=True)
    beating.start()
    try:
        with pytest.raises(LockedError, match="process 1 on elsewhere"), run_lock(tmp_path):
            pytest.fail("taken from a living process")
    finally:
        beating.kill()
        beating.join()


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is of a SLURM job that was queued again once."""
    for name, value in (("JOB_ID", "7"), ("CLUSTER_NAME", "check"), ("RESTART_COUNT", "1")):
        monkeypatch.setenv(f"SLURM_{name}", value)


@pytest.mark.usefixtures("requeued", "short_watch")
@pytest.mark.parametrize(
    ("job", "restarts", "free"),
    [("check 7", 0, True), ("check 7", 1, False), ("check 8", 0, False), ("other 7", 0, False), (None, 0, False)],
)
def test_a_requeued_job_takes_over_its_own_lock(tmp_path: Path, job: str | None, restarts: int, free: bool) -> None:
    """It was begun on another node, which died just now."""
    write_lock(tmp_path, job=job, restarts=restarts)
    assert (owner(tmp_path) is None) == free
    assert is_free(tmp_path) == free


@pytest.mark.usefixtures("requeued")
def test_a_requeued_job_waits_for_a_start_that_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that SLURM lost sight of may work on."""
    monkeypatch.setattr(lock, "WATCH", 5.0)
    first = fork.Process(target=touch, args=(write_lock(tmp_path, job="check 7"), 0.0, False), daemon=True)
    first.start()
    assert not is_free(tmp_path)
    first.kill()
    first.join()


@pytest.mark.usefixtures("requeued")
def test_a_lock_names_its_slurm_job(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        assert owner(tmp_path)[5:] == ("check 7", 1)  # type: ignore[index]


@pytest.mark.usefixtures("short_watch")
def test_watching_is_announced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_lock(tmp_path, age=LONG)
    is_free(tmp_path)
    assert str(file) in capsys.readouterr().out


DEEP = b"[" * 100_000
GARBAGE: list[bytes] = [b"[]", b"5", b"{}", b"null", b"\x80\xff", b"", b"{", b'"x"', b'{"pid": 1}', DEEP]
WRONG = [{"pid": "1"}, {"pid": 0}, {"pid": 10**300}, {"pid": None}, {"since": "now"}, {"since": float("inf")}]
WRONG += [{"since": float("nan")}, {"since": -1.0}, {"since": 1e300}, {"start_time": None}, {"start_time": 1}]
WRONG += [{"start_time": []}, {"job": 7}, {"restarts": "1"}]
GARBAGE += [json.dumps(ELSEWHERE._asdict() | wrong).encode() for wrong in WRONG]
GARBAGE += [json.dumps(ELSEWHERE._asdict() | {"more": 1}).encode()]


@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_in_the_lock_binds_nobody(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock.json").write_bytes(content)
    assert owner(tmp_path) is None
    assert is_free(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("what", ["folder", "link to nothing", "link to itself", "fifo"])
def test_what_is_no_file_in_the_locks_place_binds_nobody(tmp_path: Path, what: str) -> None:
    file = tmp_path / "lock.json"
    if what == "folder":
        (file / "deep").mkdir(parents=True)
    elif what == "fifo":
        os.mkfifo(file)
    else:
        file.symlink_to("/nowhere" if what == "link to nothing" else file)
    assert owner(tmp_path) is None
    assert is_free(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_lock_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(UnwritableError, match=rf"cannot write {tmp_path}/\.lock: "), run_lock(tmp_path):
        pytest.fail("locked")


def test_a_fifo_in_the_place_of_the_inner_lock_hangs_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".lock")
    assert is_free(tmp_path)


def compete(folder: Path, start: Barrier, won: Path) -> None:
    start.wait()
    try:
        with run_lock(folder):
            (won / str(os.getpid())).touch()
            start.wait()  # until all others have been refused
    except LockedError:
        start.wait()


@pytest.mark.usefixtures("short_watch")
def test_of_many_that_find_a_dead_owners_lock_one_takes_it(tmp_path: Path) -> None:
    for attempt in range(3):
        folder, won = tmp_path / f"run{attempt}", tmp_path / f"won{attempt}"
        folder.mkdir()
        won.mkdir()
        write_lock(folder, age=LONG)
        start = fork.Barrier(6)
        processes = [fork.Process(target=compete, args=(folder, start, won)) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert len(list(won.iterdir())) == 1


def test_an_owner_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    with run_lock(tmp_path):
        os.utime(tmp_path / "lock.json", (0, 0))
        until = time.monotonic() + 30
        while (tmp_path / "lock.json").stat().st_mtime == 0:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_a_touch_that_fails_is_not_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    touches: list[Path] = []

    def touch(file: Path) -> None:
        touches.append(file)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("oodbench.runs.lock.os.utime", touch)
    with run_lock(tmp_path):
        until = time.monotonic() + 30
        while len(touches) < 3:
            assert time.monotonic() < until
            time.sleep(0.01)


def test_who_lost_its_lock_neither_touches_nor_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "HEARTBEAT", 0.01)
    with run_lock(tmp_path):
        file = write_lock(tmp_path)
        os.utime(file, (0, 0))
        time.sleep(0.1)
        assert file.stat().st_mtime == 0
    assert file.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_for_writing_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UnwritableError, match=r"cannot write .*Permission denied"), run_lock(tmp_path / "run"):
        pytest.fail("locked")
    tmp_path.chmod(0o755)


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    says = f"cannot write {tmp_path}/results/.*Not a directory"
    with pytest.raises(UnwritableError, match=says), run_lock(tmp_path / "results" / "run"):
        pytest.fail("locked")
    with pytest.raises(UnwritableError, match="cannot write"):
        make_writable_folder(tmp_path / "results" / "runs")


def test_only_workers_of_this_process_are_its_workers(tmp_path: Path, held: int) -> None:
    assert run_by_workers([tmp_path, tmp_path / "none"]) == {(held, tmp_path)}
    who = Owner(**json.loads((tmp_path / "lock.json").read_text()))
    write_lock(tmp_path, who, machine="another boot")
    assert owner(tmp_path) is not None  # a process of the same number on another machine
    assert run_by_workers([tmp_path]) == set()
    with run_lock(tmp_path / "mine"):
        assert run_by_workers([tmp_path / "mine"]) == set()
