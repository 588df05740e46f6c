"""Lines about a sweep: which of its runs starts, how many are left, and when the last one ends."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from oodbench.phrases import clock, duration


class Sweep(NamedTuple):
    """The runs of a grid, in their order, as known to this process."""

    finished: Sequence[bool] = ()  # of each run, when the sweep began; empty in a worker, and in a search
    seconds: Sequence[float] = ()  # of each run that trained in this process


current = Sweep()


def begin(finished: Sequence[bool]) -> None:
    """Remember the runs of the sweep that this process starts."""
    global current
    current = Sweep(finished)


def in_sweep() -> bool:
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def in_search() -> bool:
    return in_sweep() and searches(HydraConfig.get().sweeper)


def searches(sweeper: Any) -> bool:
    """Tell whether a configured sweeper chooses values itself, where Hydra's own makes a grid of those given."""
    return not sweeper._target_.endswith("BasicSweeper")


def announce() -> None:
    """Print a line about the run that Hydra has started."""
    job = HydraConfig.get()
    given = [quoted.replace("'", "") for quoted in sys.argv]
    values = [value for value in job.overrides.task if value.replace("'", "") not in given]
    print(line(job.job.num, values, current), flush=True)


@contextmanager
def timed() -> Iterator[None]:
    """Count the seconds of a run that is done in this process."""
    global current
    started = time.monotonic()
    yield
    current = current._replace(seconds=[*current.seconds, time.monotonic() - started])


def line(number: int, values: Sequence[str], sweep: Sweep, now: float | None = None) -> str:
    """Return "[2/6] seed=1; 5 to do, about 20 min, until 14:31"; number: from 0 on.

    What is left takes as long as the runs before on average.
    """
    total = f"/{len(sweep.finished)}" if sweep.finished else ""
    todo = sum(not finished for finished in sweep.finished[number:])
    text = f"[{number + 1}{total}] {' '.join(values)}".rstrip()
    if todo:
        text += f"; {todo} to do"
    if todo and sweep.seconds:
        rest = todo * sum(sweep.seconds) / len(sweep.seconds)
        text += f", about {duration(rest)}, until {clock(rest, time.time() if now is None else now)}"
    return text
