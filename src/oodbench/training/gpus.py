"""GPU locks, so that runs started side by side do not share a GPU unless that is asked for."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

LOCKS = Path(tempfile.gettempdir()) / "oodbench-gpus"  # of this machine, for all its users
PAUSE = 2.0  # seconds between two tries


@contextmanager
def acquire_gpus(gpus: Sequence[str], runs_per_gpu: int, count: int = 1, folder: Path = LOCKS) -> Iterator[list[int]]:
    """Wait for `count` GPUs with fewer than `runs_per_gpu` runs each, lock them, and give their indices.

    gpus: names that every process knows them by. The kernel frees a lock when its process dies. All are taken or none,
    so that two runs never wait for each other. Raises ValueError for runs_per_gpu below 1, and where there are not so
    many GPUs.
    """
    if runs_per_gpu < 1:
        raise ValueError(f"runs_per_gpu={runs_per_gpu}: at least 1 is needed")
    if count > len(gpus):
        raise ValueError(f"devices={count}: this machine has {len(gpus)} GPUs")
    folder.mkdir(parents=True, exist_ok=True)
    _open_to_all(folder, 0o777)
    announced = False
    while True:
        with contextlib.ExitStack() as locks:
            taken: list[int] = []
            for number, index in product(range(runs_per_gpu), range(len(gpus))):  # empty GPUs first
                if len(taken) < count and index not in taken:
                    lock = _locked(folder / f"{gpus[index]}.{number}")
                    if lock is not None:
                        locks.callback(os.close, lock)
                        taken.append(index)
            if len(taken) == count:
                yield taken
                return
        if not announced:
            who = f"{count} of {len(gpus)} GPUs with fewer than {runs_per_gpu} runs"
            print(f"waiting for {who}; runs_per_gpu allows more", flush=True)
            announced = True
        time.sleep(PAUSE)


def _locked(path: Path) -> int | None:
    """Return the descriptor of the file, locked; None where another process holds it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)  # anyone's link could lead anywhere
    _open_to_all(file, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _open_to_all(file: Path | int, mode: int) -> None:
    """Set the mode whatever the umask: GPUs are shared with other users, whose runs count."""
    with contextlib.suppress(PermissionError):  # another user's, who has set its mode
        os.chmod(file, mode)  # noqa: PTH101 - a descriptor, too
