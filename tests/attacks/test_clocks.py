"""Locks of other machines, whose clocks and names are anything: a living owner keeps its run, a dead one loses it."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.attacks import Arena
from helpers.attempts import Attempts
from helpers.victim import FORKS, train_watching

from oodbench.runs.lock import STALE_AFTER, Owner, _this_process

pytestmark = pytest.mark.slow
YEAR = 365 * 24 * 3600.0
AWAY = [0.0, 320.0, -320.0, STALE_AFTER, -1.0, YEAR, -YEAR, -10 * YEAR]  # seconds that a touch of the lock lies back
WATCHED = 3.0  # s in the place of lock.WATCH
HERE = os.uname().nodename
HOSTS = ["elsewhere", HERE, "a" * 255]
BAD_HOSTS = ["\x1b[2J", "a\nb", "x" * 10_000, "", "../../x", "<b>"]
OTHER = Owner("elsewhere", "another boot", 1, "1", 1000.0)
GARBAGE: list[Any] = [[], 5, {}, None, "x", {"pid": 1}, [OTHER._asdict()], OTHER._asdict() | {"more": 1}]
GARBAGE += [OTHER._asdict() | {"pid": value} for value in (-1, 0, 10**400, "1", None, True, 1.5, [])]
GARBAGE += [OTHER._asdict() | {"since": value} for value in ("now", None, 1e400, -1e300, 1e308, [])]
GARBAGE += [OTHER._asdict() | {"host": value} for value in (None, 3, [], *BAD_HOSTS)]


def write_lock(folder: Path, who: Any, back: float) -> Path:
    """Write the lock of an owner that touched it `back` seconds ago by this machine's clock."""
    file = folder / "lock.json"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(who))
    os.utime(file, (time.time() - back,) * 2)
    return file


def beat(file: str, back: float) -> None:
    """Touch a lock as its owner does, by a clock of its own."""
    while True:
        os.utime(file, (time.time() - back,) * 2)
        time.sleep(WATCHED / 10)


@pytest.mark.parametrize("host", HOSTS)
def test_a_living_owner_on_another_machine_keeps_its_run(host: str, arena: Arena, attempt: Attempts) -> None:
    for back in AWAY:
        with attempt("another machine works on the run, its clock off", f"{host[:20]}, {back:.0f} s"):
            arena.results()
            file = write_lock(arena.folder, OTHER._replace(host=host)._asdict(), back)
            owner = FORKS.Process(target=beat, args=(str(file), back))
            owner.start()
            try:
                end = arena.lived(train_watching, arena.config(), WATCHED)
            finally:
                owner.kill()
                owner.join()
            assert end.code == 1, end.text
            assert "not run: process 1 on" in end.text, end.text
            assert {path.name for path in arena.folder.iterdir()} <= {"lock.json", ".lock"}


@pytest.mark.parametrize("host", HOSTS)
def test_a_dead_owner_on_another_machine_loses_its_run(host: str, arena: Arena, attempt: Attempts) -> None:
    for back in AWAY:
        if 0 <= back < STALE_AFTER - 60:
            continue  # it may live
        with attempt("another machine died amid the run, its clock off", f"{host[:20]}, {back:.0f} s"):
            arena.results("own")
            write_lock(arena.folder, OTHER._replace(host=host)._asdict(), back)
            (arena.folder / "metrics.json").unlink()
            end = arena.lived(train_watching, arena.config(), 0.3)
            assert end.code == 0, end.text
            arena.check_ends_as_untouched()


def test_a_dead_owner_here_loses_its_run(arena: Arena, attempt: Attempts) -> None:
    """Its process number is another process's by now, or nobody's."""
    arena.results("own")
    (arena.folder / "metrics.json").unlink()
    for pid in (os.getpid(), 1, 2**22 - 1):
        for back in AWAY:
            with attempt("a process of this machine died amid the run", f"{pid}, {back:.0f} s"):
                write_lock(arena.folder, _this_process()._replace(pid=pid, start_time="1")._asdict(), back)
                end = arena.read()
                assert not end.problem, end.problem
                assert "1 stopped" in end.text, end.text
    arena.check_ends_as_untouched()


def test_garbage_in_a_lock_binds_nobody(arena: Arena, attempt: Attempts) -> None:
    for content in GARBAGE:
        with attempt("garbage in a lock", str(content)[:100]):
            arena.results("own")
            write_lock(arena.folder, content, 0.0)
            (arena.folder / "metrics.json").unlink()
            end = arena.read()
            assert not end.problem, end.problem
            assert "1 stopped" in end.text, end.text
            arena.check_ends_as_untouched()
