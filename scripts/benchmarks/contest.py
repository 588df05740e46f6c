"""Pieces of work that take turns, each way of doing them in a process of its own."""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, NamedTuple

Actions = Mapping[str, Callable[[], Any]]  # name -> the work, once
Seconds = dict[tuple[str, str], list[float]]  # (way, action) -> of every repeat
PROCESSES = multiprocessing.get_context("spawn")  # a way of working may change its process: how memory is kept


class Worker:
    """A process that does what it is told and says how many seconds that took."""

    def __init__(self, setup: Callable[..., Actions], *arguments: Any) -> None:
        self.connection, theirs = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_serve, args=(theirs, setup, arguments), daemon=True)
        self.process.start()
        theirs.close()

    def seconds(self, action: str) -> float:
        """Raises EOFError where the process died, which has then said why."""
        self.connection.send(action)
        return float(self.connection.recv())

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.connection.close()  # on which it ends
        self.process.join()


def _serve(connection: Connection, setup: Callable[..., Actions], arguments: Sequence[Any]) -> None:
    actions = setup(*arguments)
    while True:
        try:
            action = actions[connection.recv()]
        except EOFError:
            return
        start = time.perf_counter()
        action()
        connection.send(time.perf_counter() - start)


def contest(ways: Mapping[str, tuple[Any, ...]], turns: Sequence[tuple[str, str]], repeats: int, warm: bool) -> Seconds:
    """ways: {name: (setup, *arguments)}; turns: (way, action), in this order in every repeat.

    `warm`: all of it once before, unmeasured.
    """
    spent: Seconds = {turn: [] for turn in turns}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(*way)) for name, way in ways.items()}
        for repeat in range(-int(warm), repeats):
            for way, action in turns:
                elapsed = workers[way].seconds(action)
                if repeat >= 0:
                    spent[way, action].append(elapsed)
    return spent


class Ratio(NamedTuple):
    """How many times as long one took as the other, of the repeats in which they took turns."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.median)} ({number(self.low)} to {number(self.high)})"


def ratio(slow: Sequence[float], fast: Sequence[float], per: float = 1.0) -> Ratio:
    """Of neighbours in time, so that a drift of the machine touches both; `per`: how much more the fast one did."""
    ratios = [per * a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def number(value: float) -> str:
    """Three digits, never an exponent."""
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"
