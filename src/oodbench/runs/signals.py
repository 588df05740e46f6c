"""SIGINT and SIGTERM finish the step: a flag for the training loop, and a master that waits for its workers."""

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
GRACE = 30.0  # seconds that workers have to finish their step and save, as long as SLURM waits between its signals

Jobs = AbstractSet[tuple[int, Hashable]]  # number of a process, what it runs


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Give a function that returns the number of the signal that has come, 0 before. A second one acts as always.

    Handlers that others have put there (submitit's, a notebook's) are left alone, as is every thread but the main one.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    with _handled_by(note, (*DEFAULTS.values(), ExitOnSignal)) as before:
        yield lambda: came[0] if came else 0


@contextmanager
def exit_on_signal(running: Callable[[], Jobs]) -> Iterator[None]:
    """Outside the training loop, end the process by SystemExit on a signal, and its workers before it.

    `running`: the jobs of this process's workers. Without, joblib's would work on when their master is terminated, and
    be killed amid a step by Ctrl-C. A second signal does not wait.
    """
    with _handled_by(ExitOnSignal(running), tuple(DEFAULTS.values())):
        yield


class ExitOnSignal:
    """A handler that tells each worker once, waits for them, then ends this process; `stop_signal` may put it off."""

    def __init__(self, running: Callable[[], Jobs]) -> None:
        self.running = running

    def __call__(self, number: int, frame: FrameType | None) -> None:
        signal.signal(number, DEFAULTS[signal.Signals(number)])
        until = time.monotonic() + GRACE
        jobs = self.running()
        for worker, _ in jobs:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)  # which does not hasten a worker that Ctrl-C has reached already
        while jobs & self.running() and time.monotonic() < until:
            time.sleep(0.05)
        raise SystemExit(128 + number)


@contextmanager
def _handled_by(handler: Handler, over: tuple[object, ...]) -> Iterator[dict[signal.Signals, Any]]:
    """Replace the handlers in `over`, or of their types; give those that were replaced, and restore them afterwards."""
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
