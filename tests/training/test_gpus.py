"""GPU locks: runs side by side get different GPUs, wait where there is none, and never wait for each other."""

import contextlib
import multiprocessing
import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.training import gpus
from oodbench.training.gpus import acquire_gpus

NAMES = ["GPU-a", "GPU-b", "GPU-c"]


def test_runs_side_by_side_take_different_gpus(tmp_path: Path) -> None:
    with (
        acquire_gpus(NAMES, 1, folder=tmp_path) as first,
        acquire_gpus(NAMES, 1, folder=tmp_path) as second,
        acquire_gpus(NAMES, 1, folder=tmp_path) as third,
    ):
        assert [first, second, third] == [[0], [1], [2]]


def test_empty_gpus_are_taken_before_a_gpu_is_shared(tmp_path: Path) -> None:
    with acquire_gpus(NAMES[:2], 2, folder=tmp_path), acquire_gpus(NAMES[:2], 2, folder=tmp_path) as second:
        assert second == [1]
        with acquire_gpus(NAMES[:2], 2, folder=tmp_path) as third:
            assert third == [0]


def test_one_run_may_take_several_gpus(tmp_path: Path) -> None:
    with acquire_gpus(NAMES, 1, 2, tmp_path) as both, acquire_gpus(NAMES, 1, folder=tmp_path) as other:
        assert (both, other) == ([0, 1], [2])


def test_one_run_never_takes_a_gpu_twice(tmp_path: Path) -> None:
    with acquire_gpus(NAMES, 5, 3, tmp_path) as taken:
        assert taken == [0, 1, 2]


def test_a_gpu_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with acquire_gpus(NAMES[:1], 1, folder=tmp_path) as taken:
            assert taken == [0]


def test_a_run_waits_for_a_gpu_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = acquire_gpus(NAMES[:1], 1, folder=tmp_path)
    first.__enter__()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            first.__exit__(None, None, None)

    monkeypatch.setattr(gpus.time, "sleep", pause)
    with acquire_gpus(NAMES[:1], 1, folder=tmp_path) as taken:
        assert taken == [0]
    assert pauses == [gpus.PAUSE] * 3
    printed = capsys.readouterr().out
    assert printed == "waiting for 1 of 1 GPUs with fewer than 1 runs; runs_per_gpu allows more\n"


def test_a_run_that_waits_for_two_gpus_holds_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    class WaitedError(Exception):
        """Ends the wait."""

    def look(seconds: float) -> None:
        with acquire_gpus(NAMES[:2], 1, folder=tmp_path) as free:
            seen.append(free)
        raise WaitedError

    with acquire_gpus(NAMES[:2], 1, folder=tmp_path):
        monkeypatch.setattr(gpus.time, "sleep", look)
        with pytest.raises(WaitedError), acquire_gpus(NAMES[:2], 1, 2, tmp_path):
            pass
    assert seen == [[1]]


def hold(folder: Path, taken: threading.Event) -> None:
    with acquire_gpus(NAMES[:1], 1, folder=folder):
        taken.set()
        threading.Event().wait()


@pytest.mark.slow
def test_a_killed_process_frees_its_gpu(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    taken = context.Event()
    process = context.Process(target=hold, args=(tmp_path, taken))
    process.start()
    assert taken.wait(60)
    process.kill()
    process.join()
    with acquire_gpus(NAMES[:1], 1, folder=tmp_path) as free:
        assert free == [0]


@pytest.mark.parametrize("runs_per_gpu", [0, -1])
def test_runs_per_gpu_below_one_is_an_error(runs_per_gpu: int, tmp_path: Path) -> None:
    with (
        pytest.raises(ValueError, match=f"runs_per_gpu={runs_per_gpu}"),
        acquire_gpus(NAMES, runs_per_gpu, folder=tmp_path),
    ):
        pass


def test_more_gpus_than_there_are_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"devices=4.*3 GPUs"), acquire_gpus(NAMES, 1, 4, tmp_path):
        pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(0o600)
    folder = tmp_path / "locks"
    folder.mkdir()
    (folder / "GPU-a.0").symlink_to(target)
    with pytest.raises(OSError, match=r"GPU-a\.0"), acquire_gpus(NAMES, 1, folder=folder):
        pass
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_other_users_may_lock_whatever_the_umask(tmp_path: Path) -> None:
    folder, before = tmp_path / "locks", os.umask(0o077)
    try:
        with acquire_gpus(NAMES[:1], 1, folder=folder):
            (file,) = folder.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o777
            assert stat.S_IMODE(file.stat().st_mode) == 0o666
    finally:
        os.umask(before)


@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.integers(1, 2))
@settings(deadline=None, max_examples=30)
def test_no_gpu_has_more_runs_than_allowed(counts: list[int], runs_per_gpu: int) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        users: list[int] = []
        for count in counts:
            free = [i for i in range(3) if users.count(i) < runs_per_gpu]
            if len(free) >= count:  # else it would wait
                users += stack.enter_context(acquire_gpus(NAMES, runs_per_gpu, count, Path(folder)))
        assert all(users.count(i) <= runs_per_gpu for i in range(3))
