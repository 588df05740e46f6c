"""A disk that is full from some operation on: one line says so, nothing is lost, with room the command ends well."""

import contextlib
import io
import os
import resource
import signal
import subprocess

import pytest
from helpers.attacks import Arena, assert_same, is_whole, left_behind
from helpers.attempts import Attempts
from helpers.config import configuration
from helpers.victim import score_again, train

from oodbench.runs.identity import Config

pytestmark = pytest.mark.slow
SAYS = "cannot write"


def limited(size: int, config: Config) -> None:
    """Train where no file may be larger, which the kernel enforces amid a write."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, unlimited))
    said = io.StringIO()  # what is printed goes to a file, too
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            train(config)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
        print(said.getvalue())


def test_a_training_survives_a_disk_that_fills_up(arena: Arena, attempt: Attempts) -> None:
    arena.results()
    touched = arena.trained().touched
    for full_at in range(1, touched + 1, 2):
        with attempt("the disk is full from an operation of a training on", f"operation {full_at}"):
            arena.results()
            end = arena.trained(full_at=full_at)
            assert not end.problem, end.problem
            assert end.code == 0 or SAYS in end.text, end.text
            arena.check_ends_as_untouched()


def test_scoring_again_survives_a_disk_that_fills_up(arena: Arena, attempt: Attempts) -> None:
    detector = configuration("detector=[gen]")["detector"]
    arena.results("own")
    work = (score_again, str(arena.folder), detector, {})
    touched = arena.lived(*work).touched
    new = left_behind(arena.folder)
    for full_at in range(1, touched + 1, 2):
        with attempt("the disk is full from an operation of scoring again on", f"operation {full_at}"):
            arena.results("own")
            end = arena.lived(*work, full_at=full_at)
            assert not end.problem, end.problem
            assert end.code == 0 or SAYS in end.text, end.text
            assert is_whole(arena.folder)
            assert arena.lived(*work).code == 0
            assert_same(left_behind(arena.folder), new)


def test_tables_survive_a_disk_that_fills_up(arena: Arena, attempt: Attempts) -> None:
    arena.results("own")
    touched = arena.read().touched
    for full_at in range(1, touched + 1, 4):
        with attempt("the disk is full from an operation of the tables on", f"operation {full_at}"):
            arena.results("own")
            end = arena.read(full_at=full_at)
            assert not end.problem, end.problem
            assert "== 1" not in end.text or SAYS in end.text, end.text
            assert arena.read().code == 0
            arena.check_ends_as_untouched()


@pytest.mark.parametrize("size", [0, 100, 1000, 3000, 10_000, 50_000, 100_000, 200_000, 300_000, 420_000])
def test_a_file_that_may_not_grow_is_named(size: int, arena: Arena, attempt: Attempts) -> None:
    with attempt("the kernel refuses to write beyond a size", f"{size} bytes"):
        arena.results()
        end = arena.lived(limited, size, arena.config())
        assert not end.problem, end.problem
        assert SAYS in end.text or end.code == 0, end.text
        arena.check_ends_as_untouched()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk of its own")
def test_a_small_disk_is_full(arena: Arena, attempt: Attempts) -> None:
    """A file system of its own, in memory; skipped where none may be mounted."""
    results = arena.results()
    for size in (100, 400, 700, 1000, 1300):
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(results)], capture_output=True
        )
        if mounted.returncode:
            pytest.skip("no disk may be mounted here")
        try:
            with attempt("a disk of some hundred kB", f"{size} kB"):
                end = arena.trained()
                assert not end.problem, end.problem
                assert SAYS in end.text, end.text
                subprocess.run(["mount", "-o", "remount,size=100m", str(results)], check=True)
                arena.check_ends_as_untouched()
        finally:
            subprocess.run(["umount", str(results)], check=True)
