"""The warning of a training that has become slow, at made-up times, and threads that wait without spinning."""

import os
import subprocess
import sys
import warnings
from itertools import pairwise

import pytest
import torch
from helpers.config import ROOT
from helpers.training import classifier, train
from hypothesis import given
from hypothesis import strategies as st

from oodbench.training import slowdown
from oodbench.training.slowdown import FRACTION, WINDOW, Slowdown

FAST = [0.2] * 100  # s a step
COLLAPSED = [4.0] * 10
A_BIT_SLOWER = [0.5] * 100


def warnings_of(steps: list[float], images: int = 128) -> list[str]:
    """The warnings over steps that take so many seconds each."""
    watch, now = Slowdown(), 100.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for seconds in steps:
            now += seconds
            watch.add(images, now)
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_collapse_is_said_once_with_both_speeds(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    (said,) = warnings_of(FAST + COLLAPSED * 5)
    assert "from 640 to 32 images/s" in said
    assert ("threads=1" in said) == (threads > 1)


def test_a_collapse_after_a_recovery_is_not_said_again() -> None:
    assert len(warnings_of((FAST + COLLAPSED) * 4)) == 1


def test_half_of_the_speed_is_no_collapse() -> None:
    assert warnings_of(FAST + A_BIT_SLOWER) == []


def test_one_pause_is_no_collapse() -> None:
    assert warnings_of([*FAST, 3600.0, *FAST]) == []


def test_the_first_step_does_not_count() -> None:
    assert warnings_of([300.0, *FAST]) == []  # compiling
    assert len(warnings_of([300.0, *FAST, *COLLAPSED])) == 1


def test_a_slow_start_is_the_measure() -> None:
    assert warnings_of(COLLAPSED + FAST + COLLAPSED) == []


def test_steps_longer_than_a_window_are_windows() -> None:
    assert len(warnings_of([20.0] * 5 + [100.0] * 2)) == 1


@given(st.floats(0.01, 30), st.lists(st.floats(1.0, 0.99 / FRACTION), max_size=50))
def test_steady_trainings_never_warn(step: float, factors: list[float]) -> None:
    first = [step] * (2 + int(WINDOW / step))
    assert warnings_of(first + [step * factor for factor in factors]) == []


def test_only_the_first_process_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slowdown, "rank", lambda: 1)
    assert warnings_of(FAST + COLLAPSED) == []


def test_the_loop_tells_the_time_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, float]] = []
    monkeypatch.setattr(Slowdown, "add", lambda self, images, now: told.append((images, now)))
    train(classifier())
    assert [images for images, _ in told] == [16, 16, 16, 2] * 4
    assert all(before < after for (_, before), (_, after) in pairwise(told))


def in_a_new_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    env |= {"PYTHONPATH": str(ROOT / "src"), **environment}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(("given", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_the_package_sets_the_wait_policy_unless_told(given: dict[str, str], expected: str) -> None:
    assert (
        in_a_new_process("import os, oodbench; print(os.environ['OMP_WAIT_POLICY'])", **given).stdout == f"{expected}\n"
    )


@pytest.mark.slow  # it imports torch anew
@pytest.mark.skipif(not torch.backends.openmp.is_available(), reason="torch was built without OpenMP")
def test_torchs_openmp_takes_the_wait_policy() -> None:
    told = in_a_new_process("import oodbench.experiment", OMP_DISPLAY_ENV="true").stderr.replace("'", "").lower()
    assert "omp_wait_policy = passive" in told
    assert "omp_wait_policy = active" not in told
