"""Interleaved timing of variants, and the time and memory of one call: each in a process of its own.

The processes are not daemonic, since a daemon may not start a DataLoader's workers; they end with this process,
however it ends.
"""

import ctypes
import multiprocessing
import os
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import torch

Action = Callable[[], object]
Variant = Callable[[], Action]  # called in its process, returns what is timed; picklable, as partial(function, ...) is
Seconds = dict[str, list[float]]  # {variant: of every repeat}
GRACE = 5.0  # seconds that an idle process has to end by itself
# what the server imports once, of which every timed process is a fork: none of it touches a GPU
PRELOADED = ["torch", "torchvision", "sklearn.metrics", "hydra.utils", "oodbench.model", "oodbench.evaluation.evaluate"]
RUNS, ENOUGH = 5, 0.5  # `measure` repeats an action up to RUNS times, while less than ENOUGH seconds have passed


class Child:
    """A process that runs main(connection, *arguments), which ends, or is killed, with the `with`."""

    def __init__(self, method: str, main: Callable[..., None], *arguments: Any) -> None:
        context: Any = multiprocessing.get_context(method)
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_start, args=(main, theirs, *arguments))
        self.process.start()
        theirs.close()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.connection.close()
        self.process.join(0 if error else GRACE)
        self.process.kill()
        self.process.join()


def _start(main: Callable[..., None], *arguments: Any) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    main(*arguments)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def time_interleaved(variants: Mapping[str, Variant], repeats: int) -> Seconds:
    """Time every variant once in each repeat, in the order given, so that a machine's drift touches all alike.

    A first round is not counted. Raises RuntimeError when a variant's process ends, whose traceback is on stderr.
    """
    multiprocessing.set_forkserver_preload(PRELOADED)
    seconds: Seconds = {name: [] for name in variants}
    with ExitStack() as stack:
        children = {name: stack.enter_context(Child("forkserver", _work, v)) for name, v in variants.items()}
        for repeat in range(-1, repeats):
            for name, child in children.items():
                try:
                    child.connection.send("go")
                    elapsed = child.connection.recv()
                except (EOFError, OSError) as error:
                    child.process.join()
                    raise RuntimeError(f"variant {name} ended with exit status {child.process.exitcode}") from error
                if repeat >= 0:
                    seconds[name].append(elapsed)
    return seconds


def _work(connection: Connection, variant: Variant) -> None:
    action = variant()
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        start = time.perf_counter()
        action()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        connection.send(time.perf_counter() - start)


class Ratio(NamedTuple):
    """Ratio of the slow variant's time to the fast one's, over the repeats."""

    median: float
    low: float
    high: float


def ratio(slow: Sequence[float], fast: Sequence[float], scale: float = 1.0) -> Ratio:
    """scale * slow / fast in each repeat, in which the two are neighbours in time"""
    ratios = [scale * a / b for a, b in zip(slow, fast, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


class Cost(NamedTuple):
    seconds: float  # of the fastest run; others may use the machine, too
    memory: int  # bytes: the highest resident memory during the runs less that before them


def measure(action: Action, warm_up: Action, limit: float, memory: float) -> Cost | str:
    """Return the cost of `action`, or why there is none: above `limit` s or `memory` bytes, or an error's name.

    warm_up, called first: the same on little data, so that imports, threads and the libraries' buffers are there. The
    process is forked, so inputs are shared and not measured; Linux only.
    """
    with Child("fork", _measure, action, warm_up, memory) as child:
        try:
            return child.connection.recv() if child.connection.poll(limit) else f"> {limit:.0f} s"
        except EOFError:  # the system kills what asks for more memory than there is
            return "died"


def _measure(connection: Connection, action: Action, warm_up: Action, memory: float) -> None:
    try:
        warm_up()
        size = _status("VmSize") + int(memory)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
        ctypes.CDLL(None).malloc_trim(0)  # what the warm-up freed would else be used again, unseen
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from VmRSS
        before, runs = _status("VmRSS"), list[float]()
        while len(runs) < RUNS and sum(runs) < ENOUGH:
            start = time.perf_counter()
            action()
            runs.append(time.perf_counter() - start)
        connection.send(Cost(min(runs), max(0, _status("VmHWM") - before)))
    except MemoryError:
        connection.send(f"> {memory / 1e9:.0f} GB")
    except Exception as error:  # the table names it, and the other rows are measured
        connection.send(type(error).__name__)
        raise


def _status(key: str) -> int:
    """Return bytes."""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024
