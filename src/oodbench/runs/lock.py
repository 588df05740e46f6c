"""A claim on a run's folder: no cell is run by two processes at once, and a dead process's cell is free again.

claim.json names the owner and is touched every half minute. An owner on this machine lives while its process does; one
on another machine, while it touches the file. Whether a claim stands is decided under a lock of its own, so that of
two processes which find a dead owner's claim one takes it over.
"""

import contextlib
import fcntl
import json
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oodbench.storage import naming_unwritable, write_atomic

HEARTBEAT = 30.0  # seconds between two touches
STALE_AFTER = 10 * HEARTBEAT  # of an owner on another machine, after which it is taken for dead


class LockedError(Exception):
    """Another process, which is alive, runs this cell."""


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Own the run's folder meanwhile. Raises ClaimedError, naming the owner, where another process does."""
    with naming_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = folder / "claim.json"
    with _exclusive(folder):
        other = owner(folder)
        if other:
            raise LockedError(f"process {other['pid']} on {other['host']} runs this cell: {folder}")
        write_atomic(file, json.dumps(_this_process() | {"since": time.time()}) + "\n")
    over = threading.Event()
    heartbeat = threading.Thread(target=_send_heartbeats, args=(file, over), daemon=True)
    heartbeat.start()
    try:
        yield
    finally:
        over.set()
        heartbeat.join()
        with _exclusive(folder):
            if _is_mine(file):  # not if this process slept so long that another took it over
                file.unlink()


def owner(folder: Path) -> dict[str, Any] | None:
    """Who runs this cell now: {"host", "pid", "place", "born", "since"}; None where nobody does, or a dead owner."""
    file = folder / "claim.json"
    try:
        who: dict[str, Any] = json.loads(file.read_text())
        age = time.time() - file.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    alive = who["born"] == _start_time(who["pid"]) if who["place"] == _machine() else age < STALE_AFTER
    return who if alive else None


def run_by_workers(folders: Iterable[Path]) -> set[tuple[int, Path]]:
    """Which of these cells worker processes of this one run, and by what number."""
    workers = {worker.pid for worker in multiprocessing.active_children()}
    owners = {folder: owner(folder) for folder in folders}
    here = {folder: who["pid"] for folder, who in owners.items() if who and who["place"] == _machine()}
    return {(pid, folder) for folder, pid in here.items() if pid in workers}


def _is_mine(file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return _this_process().items() <= json.loads(file.read_text()).items()
    return False


def _this_process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _machine(), "born": _start_time(os.getpid())}


def _machine() -> str:
    """Where a process number means something: the host, and the container on it."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    return socket.gethostname()


def _start_time(pid: int) -> str | None:
    """When the process started, so that a number that was given out again is not taken for it; None if it is gone."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[18] if state != "Z" else None  # a zombie is dead, its parent has only not asked yet
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
    try:  # no /proc: the number alone must do
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "alive"


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    path = folder / ".claim.lock"
    with naming_unwritable(path):
        lock = path.open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when the process dies
        yield


def _send_heartbeats(file: Path, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT):
        if _is_mine(file):
            os.utime(file)
