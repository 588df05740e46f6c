"""SIGINT and SIGTERM finish the step: a flag that the training loop looks at."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """A function that gives the number of the signal that has come, 0 before. A second one acts as it always does.

    Handlers that others have put there (submitit's, a notebook's) are left alone, as is every thread but the main one.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[signal.Signals(number)])

    defaults = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    main = threading.current_thread() is threading.main_thread()
    before = {n: how for n, how in defaults.items() if main and signal.getsignal(n) == how}
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: came[0] if came else 0
    finally:
        for number, how in before.items():
            signal.signal(number, how)
