"""Seconds and memory of a call, in a forked process that does nothing else. Linux only."""

import ctypes
import math
import multiprocessing
import os
import re
import resource
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

Action = Callable[[], object]
ENOUGH = 0.5  # seconds after which an action is not run again
RUNS = 5


class Cost(NamedTuple):
    seconds: float  # of the fastest of up to RUNS runs within ENOUGH seconds; others may use the machine, too
    memory: int  # bytes, the process's highest resident memory in these runs less that before them


def measured(action: Action, warm_up: Action, limit: float, memory: float) -> Cost | str:
    """The cost of `action` after `warm_up`, or why there is none: more than `limit` s or `memory` bytes.

    warm_up: the same on little data, so that imports, threads and the libraries' own buffers are there before.
    """
    fork = multiprocessing.get_context("fork")  # inputs are shared until written to, and not measured
    here, there = fork.Pipe(duplex=False)
    child = fork.Process(target=_child, args=(action, warm_up, memory, there))
    child.start()
    there.close()
    try:
        return here.recv() if here.poll(limit) else f"> {limit:.0f} s"
    except EOFError:  # the system ends what asks for more memory than there is
        child.join()
        return f"died ({child.exitcode})"
    finally:
        child.kill()
        child.join()


def _child(action: Action, warm_up: Action, memory: float, parent: Connection) -> None:
    warm_up()
    size = _status("VmSize") + int(memory)
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    ctypes.CDLL(None).malloc_trim(0)  # what the warm-up freed would else be used again, unseen
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from VmRSS
    before = _status("VmRSS")
    runs: list[float] = []
    try:
        while len(runs) < RUNS and sum(runs) < ENOUGH:
            start = time.perf_counter()
            action()
            runs.append(time.perf_counter() - start)
        parent.send(Cost(min(runs), max(0, _status("VmHWM") - before)))
    except MemoryError:
        parent.send(f"> {memory / 1e9:.0f} GB")
    parent.close()
    os._exit(0)  # the parent's exit handlers are not the child's affair


def _status(key: str) -> int:
    """-> bytes"""
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def exponent(values: Mapping[int, float], least: float = 0) -> float | None:
    """{size: value} -> p where the value is c size^p: the slope of the logarithms between the two largest sizes.

    None with fewer than two sizes, and where one of the two values is below `least`, the noise of what was measured.
    """
    sizes = sorted(values)[-2:]
    if len(sizes) < 2 or min(values[size] for size in sizes) <= least:
        return None
    small, large = sizes
    return math.log(values[large] / values[small]) / math.log(large / small)
