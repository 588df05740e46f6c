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
    """A function that gives the number of the signal that has come, 0 before. A second one acts as it always does.

    Handlers that others have put there (submitit's, a notebook's) are left alone, as is every thread but the main one.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    with _handled_by(note, (*DEFAULTS.values(), End)) as before:
        yield lambda: came[0] if came else 0


@contextmanager
def ending(running: Callable[[], Jobs]) -> Iterator[None]:
    """Elsewhere than in the training loop: a signal ends the process by SystemExit, and its workers before it.

    `running`: the jobs of this process's workers. Without, joblib's would work on when their master is terminated, and
    be killed amid a step by Ctrl-C. A second signal does not wait.
    """
    with _handled_by(End(running), tuple(DEFAULTS.values())):
        yield


class End:
    """Of the workers, each told once and waited for; then of this process, which `stop_signal` may put off."""

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
    """Put it in the place of the handlers in `over`, or of their types, and them back afterwards; -> them."""
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
