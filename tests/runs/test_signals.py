"""SIGINT and SIGTERM: noted in a training, the end of a process and its workers elsewhere."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from oodbench.runs.signals import ExitOnSignal, exit_on_signal, stop_signal

fork = multiprocessing.get_context("fork")  # spawn would import torch in every process
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture(autouse=True)
def _sigint_as_usual() -> Iterator[None]:
    """SIGINT as Python handles it: a shell starts its background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@BOTH
def test_a_signal_is_noted_once_and_a_second_acts_as_always(number: signal.Signals) -> None:
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
        with exit_on_signal(set):
            assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_thread_leaves_the_handlers_alone() -> None:
    before, inside = signal.getsignal(signal.SIGTERM), []

    def train() -> None:
        with stop_signal() as stop:
            inside.append((signal.getsignal(signal.SIGTERM), stop()))

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert inside == [(before, 0)]


@BOTH
def test_elsewhere_a_signal_ends_the_process_and_its_workers(number: signal.Signals) -> None:
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

    with pytest.raises(SystemExit) as end, exit_on_signal(lambda: {(pid, "run")} if worker.is_alive() else set()):
        train_and_then_wait()
    assert end.value.code == 128 + number
    assert worker.exitcode == -signal.SIGTERM
    assert signal.getsignal(number) == before


def test_a_worker_that_is_gone_is_not_waited_for() -> None:
    worker = fork.Process(target=int)
    worker.start()
    worker.join()
    with pytest.raises(SystemExit), exit_on_signal(lambda: {(worker.pid or 0, "run")} if worker.is_alive() else set()):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_worker_that_does_not_end_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.runs.signals.GRACE", 0.2)
    told: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append(pid))
    with pytest.raises(SystemExit), exit_on_signal(set):
        ExitOnSignal(lambda: {(4_000_000, "run")})(signal.SIGTERM, None)
    assert told == [4_000_000]
