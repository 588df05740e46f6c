"""A run that dies at a chosen moment: in its own process, forked from one that has torch already."""

import contextlib
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import torch

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "shutil.rmtree"}


def life(root: str, results: str, overrides: list[str], die_at: int, tally: str) -> None:
    """`python train.py <overrides>`; SIGKILL at the die_at-th time that it touches its results, 0 for never.

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
    sys.argv = [f"{root}/train.py", *overrides, f"results_dir={results}"]
    with contextlib.redirect_stdout(None), open(os.devnull, "w") as null, contextlib.redirect_stderr(null):  # noqa: PTH123
        runpy.run_path(sys.argv[0], run_name="__main__")
    Path(tally).write_text(str(count))
