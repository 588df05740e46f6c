"""The lock on a run's folder: one living process works on a run, on however many machines.

lock.json names its owner. A lock of this machine stands while the owner's process lives; one of another machine while
the owner touches the file, which it does every HEARTBEAT seconds. Clocks of two machines may differ: a lock that looks
stale, or comes from the future, is watched, and void only if nobody touches it. The same holds for the lock of an
earlier start of this SLURM job, which SLURM queued again because its node died or was needed for others. The decision
is made under a second lock, so that of two processes that find a dead owner's lock only one takes it over.
"""

import contextlib
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from oodbench.storage import naming_unwritable, regular, write_atomic

HEARTBEAT = 30.0  # seconds between two touches
STALE_AFTER = 10 * HEARTBEAT  # seconds without a touch after which an owner on another machine may be dead
WATCH = 2.5 * HEARTBEAT  # seconds in which a living owner touches its file at least twice
LATEST = 2.0**40  # seconds since 1970: a time that status can print
HOST = r"[\w.:-]{1,255}"  # it is printed


class LockedError(Exception):
    """Another process, which is alive, works on this run."""


class Owner(NamedTuple):
    """The process that a lock names. machine: boot and process namespace, in which a process number means something."""

    host: str
    machine: str
    pid: int
    start_time: str  # so that a number that was given out again is not taken for it
    since: float  # seconds since 1970, on its own clock
    job: str | None = None  # of SLURM: cluster and number, the same after the job was queued again
    restarts: int = 0  # of that job


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Own the run's folder meanwhile. Raises LockedError, naming the owner, where another process does."""
    with naming_unwritable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    file = folder / "lock.json"
    seen = _seen(file)
    if _may_be_dead(file) and _watch_for_touch(file):
        raise _locked(file, folder)
    with _exclusive(folder):
        if _is_alive(file) or (_may_be_dead(file) and _seen(file) != seen):
            raise _locked(file, folder)
        if file.is_dir():
            shutil.rmtree(file)
        write_atomic(file, json.dumps(_this_process()._asdict()) + "\n")
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


def owner(folder: Path) -> Owner | None:
    """Return the owner of the run's lock, None where there is none, it is dead, or the file is no lock.

    An owner on another machine that looks stale counts as dead here; only `run_lock` watches it.
    """
    file = folder / "lock.json"
    return _read(file) if _is_alive(file) else None


def run_by_workers(folders: Iterable[Path]) -> set[tuple[int, Path]]:
    """Return the runs that worker processes of this one work on, each with the worker's process number."""
    workers = {worker.pid for worker in multiprocessing.active_children()}
    owners = {folder: owner(folder) for folder in folders}
    here = {folder: who.pid for folder, who in owners.items() if who and who.machine == _machine()}
    return {(pid, folder) for folder, pid in here.items() if pid in workers}


def _read(file: Path) -> Owner | None:
    """Return what the file says; None where it is missing or no lock, which then binds nobody."""
    try:
        who = Owner(**json.loads(regular(file).read_text("utf-8")))
        is_pid = type(who.pid) is int and 0 < who.pid < 2**31
        known = is_pid and isinstance(who.start_time, str) and 0 <= who.since < LATEST
        known = known and isinstance(who.job, str | None) and type(who.restarts) is int
        return who if known and re.fullmatch(HOST, who.host) else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _locked(file: Path, folder: Path) -> LockedError:
    who = _read(file)
    name = f"process {who.pid} on {who.host}" if who else "another process"
    return LockedError(f"{name} works on this run: {folder}")


def _is_alive(file: Path) -> bool:
    who = _read(file)
    if who is None:
        return False
    if who.machine == _machine():
        return who.start_time == _start_time(who.pid)
    return 0 <= _age(file) < STALE_AFTER and not _is_earlier_start(who)


def _may_be_dead(file: Path) -> bool:
    """Tell whether only watching can say if the owner lives: on another machine, and stale or of this job before."""
    who = _read(file)
    return who is not None and who.machine != _machine() and not _is_alive(file)


def _is_earlier_start(who: Owner) -> bool:
    """Tell whether the owner is of this SLURM job before it was queued again."""
    job, restarts = _slurm_job()
    return job is not None and who.job == job and who.restarts < restarts


def _watch_for_touch(file: Path) -> bool:
    """Watch the file for WATCH seconds at most; True as soon as its owner touches or replaces it."""
    before, until = _seen(file), time.monotonic() + WATCH
    print(f"watching for {WATCH:.0f} s whether the owner of {file} lives", flush=True)
    while time.monotonic() < until:
        if _seen(file) != before:
            return file.exists()
        time.sleep(min(1.0, WATCH / 10))
    return False


def _seen(file: Path) -> tuple[int, int] | None:
    with contextlib.suppress(OSError):
        status = file.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def _age(file: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - file.stat().st_mtime
    return STALE_AFTER


def _is_mine(file: Path) -> bool:
    who = _read(file)
    return who is not None and who[1:4] == _this_process()[1:4]


def _this_process() -> Owner:
    started = str(_start_time(os.getpid()))
    return Owner(socket.gethostname(), _machine(), os.getpid(), started, time.time(), *_slurm_job())


def is_requeued() -> bool:
    """Tell whether this process is of a SLURM job that was queued again."""
    return _slurm_job()[1] > 0


def _slurm_job() -> tuple[str | None, int]:
    """Return this process's SLURM job, and how often it was queued again."""
    if number := os.environ.get("SLURM_JOB_ID"):
        return f"{os.environ.get('SLURM_CLUSTER_NAME')} {number}", int(os.environ.get("SLURM_RESTART_COUNT", 0))
    return None, 0


def _machine() -> str:
    """Name where a process number means something: this boot of this machine, and the container on it.

    Host names repeat, and so do the numbers of namespaces on every Linux; a boot's id does not.
    """
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    return socket.gethostname()


def _start_time(pid: int) -> str | None:
    """Return when the process started; None if it is gone."""
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
    path = folder / ".lock"
    flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW  # a link could lead away; a FIFO does not block when it is read, too
    with naming_unwritable(path):
        lock = open(os.open(path, flags, 0o644), "w")  # noqa: PTH123, SIM115 - a descriptor
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel frees it when the process dies
        yield


def _send_heartbeats(file: Path, over: threading.Event) -> None:
    while not over.wait(HEARTBEAT):
        if _is_mine(file):
            with contextlib.suppress(OSError):  # of a network file system that stalls: the next touch may succeed
                os.utime(file)
