"""The attacks themselves: what no run may do is noticed, so that a test of this folder can fail."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from helpers.attacks import Arena, assert_same, left_behind
from helpers.attempts import Attempts
from helpers.victim import lived

pytestmark = pytest.mark.slow


def write_elsewhere(path: str) -> None:
    Path(path).write_text("evil")


def start(command: str) -> None:
    subprocess.run(["touch", command], check=True)


def shell(command: str) -> None:
    os.system(f"touch {command}")


def fail(path: str) -> None:
    raise KeyError(path)


def sleep(path: str) -> None:
    time.sleep(60)


@pytest.mark.parametrize("work", [write_elsewhere, start, shell, Path.mkdir, shutil.rmtree, fail])
def test_what_nobody_may_do_is_a_problem(work: object, tmp_path: Path) -> None:
    target = tmp_path / "evil"
    end = lived(tmp_path / "log", work, target, below=str(tmp_path / "results"), alone=True)  # type: ignore[arg-type]
    assert end.problem
    assert not target.exists()


def test_a_hang_is_a_problem(tmp_path: Path) -> None:
    assert "hangs" in lived(tmp_path / "log", sleep, "", seconds=0.5).problem


def test_other_bits_are_seen(arena: Arena) -> None:
    arena.results("own")
    with pytest.raises(AssertionError, match="other bits"):
        assert_same(left_behind(arena.folder), left_behind(arena.runs / arena.folders["seed"]))


def test_an_attack_that_succeeds_is_counted() -> None:
    attempt = Attempts()
    for outcome in (True, False):
        with attempt("a test", "of the counts"):
            assert outcome
    assert (attempt.counts, len(attempt.failures)) == ({"a test": [2, 1]}, 1)
