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

from oodbench.files import write_atomic, writing

BEAT = 30.0  # seconds between two touches
SILENCE = 10 * BEAT  # of an owner on another machine, after which it is taken for dead


class ClaimedError(Exception):
    """Another process, which is alive, runs this cell."""


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Own the run's folder meanwhile. Raises ClaimedError, naming the owner, where another process does."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = folder / "claim.json"
    with _deciding(folder):
        other = owner(folder)
        if other:
            raise ClaimedError(f"process {other['pid']} on {other['host']} runs this cell: {folder}")
        write_atomic(file, json.dumps(_myself() | {"since": time.time()}) + "\n")
    over = threading.Event()
    beat = threading.Thread(target=_touch, args=(file, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        with _deciding(folder):
            if _is_mine(file):  # not if this process slept so long that another took it over
                file.unlink()


def owner(folder: Path) -> dict[str, Any] | None:
    """Who runs this cell now: {"host", "pid", "place", "born", "since"}; None where nobody does, or a dead owner."""
    file = folder / "claim.json"
    try:
        who: dict[str, Any] = json.loads(file.read_text())
        silence = time.time() - file.stat().st_mtime
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    alive = who["born"] == _born(who["pid"]) if who["place"] == _place() else silence < SILENCE
    return who if alive else None


def run_by_workers(folders: Iterable[Path]) -> set[tuple[int, Path]]:
    """Which of these cells worker processes of this one run, and by what number."""
    workers = {worker.pid for worker in multiprocessing.active_children()}
    owners = {folder: owner(folder) for folder in folders}
    here = {folder: who["pid"] for folder, who in owners.items() if who and who["place"] == _place()}
    return {(pid, folder) for folder, pid in here.items() if pid in workers}


def _is_mine(file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return _myself().items() <= json.loads(file.read_text()).items()
    return False


def _myself() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "place": _place(), "born": _born(os.getpid())}


def _place() -> str:
    """Where a process number means something: the host, and the container on it."""
    with contextlib.suppress(OSError):
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    return socket.gethostname()


def _born(pid: int) -> str | None:
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
def _deciding(folder: Path) -> Iterator[None]:
    path = folder / ".claim.lock"
    with writing(path):
        lock = path.open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when the process dies
        yield


def _touch(file: Path, over: threading.Event) -> None:
    while not over.wait(BEAT):
        if _is_mine(file):
            os.utime(file)
