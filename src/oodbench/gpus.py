"""A place on a GPU, so that runs started side by side do not meet on one unless that is asked for."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PLACES = Path(tempfile.gettempdir()) / "oodbench-gpus"  # of this machine, for all its users
PAUSE = 2.0  # seconds between two looks for a free place


@contextmanager
def place(gpus: Sequence[str], runs_per_gpu: int, folder: Path = PLACES) -> Iterator[int]:
    """The index of a GPU on which fewer than `runs_per_gpu` runs are; waits for one, and counts there meanwhile.

    gpus: names that every process knows them by. A place is a lock, which the kernel frees when the process dies.
    Raises ValueError for runs_per_gpu below 1.
    """
    if runs_per_gpu < 1:
        raise ValueError(f"runs_per_gpu={runs_per_gpu}: one run a GPU is the least")
    folder.mkdir(parents=True, exist_ok=True)
    _open_to_all(folder, 0o777)
    told = False
    while True:
        for number in range(runs_per_gpu):  # an empty GPU before the second place of another
            for index, gpu in enumerate(gpus):
                lock = _locked(folder / f"{gpu}.{number}")
                if lock is not None:
                    try:
                        yield index
                    finally:
                        os.close(lock)
                    return
        if not told:
            print(f"waiting: on each of {len(gpus)} GPUs are {runs_per_gpu} runs; runs_per_gpu allows more", flush=True)
            told = True
        time.sleep(PAUSE)


def _locked(path: Path) -> int | None:
    """The descriptor of the file, locked; None where another holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    _open_to_all(path, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _open_to_all(path: Path, mode: int) -> None:
    """Whatever the umask: GPUs are shared with other users, whose runs count."""
    with contextlib.suppress(PermissionError):  # theirs, and open already
        path.chmod(mode)
