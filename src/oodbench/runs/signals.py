"""Handlers of SIGINT and SIGTERM: a training finishes its step and saves, a parent waits for its workers."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], Any]
DEFAULTS: dict[signal.Signals, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
GRACE = 30.0  # s, for workers to finish their step and save; SLURM's own time between SIGTERM and SIGKILL

Jobs = AbstractSet[tuple[int, Hashable]]  # process id, its run


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Give a function that returns the number of the signal received, or 0. A second signal acts as usual.

    Handlers that others have set (submitit, a notebook) stay. Outside the main thread nothing is set.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    with _handled_by(note, (*DEFAULTS.values(), ExitOnSignal)) as before:
        yield lambda: came[0] if came else 0


@contextmanager
def exit_on_signal(running: Callable[[], Jobs] = set) -> Iterator[None]:
    """Outside the training loop, end the workers and then the process, by SystemExit, when a signal arrives.

    running: returns the jobs of this process's workers; by default it has none. joblib alone would let them run on when
    the parent gets SIGTERM, and kill them within a step on Ctrl-C. A second signal does not wait.
    """
    with _handled_by(ExitOnSignal(running), tuple(DEFAULTS.values())):
        yield


class ExitOnSignal:
    """Handler that signals each worker once, waits for them and ends this process; `stop_signal` replaces it."""

    def __init__(self, running: Callable[[], Jobs]) -> None:
        self.running = running

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, DEFAULTS[signal.Signals(number)])
        until = time.monotonic() + GRACE
        jobs = self.running()
        for worker, _ in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)  # harmless to a worker that Ctrl-C has reached already
        while jobs & self.running() and time.monotonic() < until:
            time.sleep(0.05)
        raise SystemExit(128 + number)


@contextmanager
def _handled_by(handler: Handler, over: tuple[object, ...]) -> Iterator[dict[signal.Signals, Any]]:
    """Replace handlers that are in `over` or of a type in it; give the replaced ones, and restore them afterwards."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        present = {number: signal.getsignal(number) for number in DEFAULTS}
        before = {n: how for n, how in present.items() if how in over or type(how) in over}
    for number in before:
        signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, how in before.items():
            signal.signal(number, how)
