"""A process that dies at a chosen moment: forked from one that has torch already."""

import contextlib
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from oodbench.experiment import rescore

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "shutil.rmtree"}


def train_life(results: str, die_at: int, tally: str, script: str, overrides: list[str]) -> None:
    """Live `python train.py <overrides>`."""
    sys.argv = [script, *overrides, f"results_dir={results}"]
    live(lambda: runpy.run_path(script, run_name="__main__"), results, die_at, tally)


def rescore_life(results: str, die_at: int, tally: str, folder: str, detector: dict[str, Any]) -> None:
    """Live the scoring of a finished run with more detectors."""
    live(lambda: rescore(Path(folder), detector, {}), results, die_at, tally)


def live(work: Callable[[], Any], results: str, die_at: int, tally: str) -> None:
    """Work; SIGKILL at the die_at-th time that the work touches its results, 0 for never.

    To touch is to open, rename, remove, make, or to have written one half of a file. `tally` gets the number of times.
    """
    count = 0

    def touch() -> None:
        nonlocal count
        count += 1
        if count == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and any(isinstance(a, str | Path) and str(a).startswith(results) for a in arguments[:2]):
            touch()

    class Halves:
        """A file that is written half by half."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> None:
            middle = len(data) // 2
            self.file.write(data[:middle])
            self.file.flush()
            touch()
            self.file.write(data[middle:])

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    @contextlib.contextmanager
    def fdopen(*arguments: Any) -> Any:
        with open(*arguments) as file:  # noqa: PTH123 - a descriptor
            yield Halves(file)

    torch.set_num_threads(1)
    sys.addaudithook(audit)
    os.fdopen = fdopen  # type: ignore[assignment]
    with contextlib.redirect_stdout(None), open(os.devnull, "w") as null, contextlib.redirect_stderr(null):  # noqa: PTH123
        work()
    Path(tally).write_text(str(count))
