"""Checkpoints that a training resumes from. Reading one cannot run code.

A checkpoint is a line that names its format, the sha256 of the rest, and a state that torch reads with weights_only.
The one before it is kept: a file that is cut off, altered, or of another run is never used.
"""

import contextlib
import hashlib
import io
import pickle
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from oodbench.runs.code import Code, changed_parts
from oodbench.runs.training_files import check_same_images
from oodbench.storage import naming_unwritable, regular, write_atomic
from oodbench.training.distributed import all_reduce_max, rank
from oodbench.training.loop import TrainState
from oodbench.training.means import Row

FORMAT = b"oodbench checkpoint 2\n"  # the next number when older states cannot be read any more
FOREIGN = (  # errors of torch.load over altered or foreign content; its documentation names none
    *(pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError),
    *(AttributeError, AssertionError, struct.error),
)
MINUTE = 60.0  # s, between two checkpoints amid an epoch


class Source(NamedTuple):
    """The run, precision, images and code behind a checkpoint, which one training does not mix."""

    run: str  # <hash>/seed<n>
    precision: str  # where it is `auto`, the one chosen for the machine that the training began on
    train_digest: str
    code: Code | None = None  # of loss and backbone; earlier checkpoints have none


class FileCheckpointer:
    """Checkpointer that writes to a file and spends at most `share` of the time on it.

    It writes after the first epoch, after the last, and before a stop in any case; otherwise after an epoch, or amid a
    long one, once so much time has passed since the last checkpoint that another is cheap. `log` is given the row of
    every epoch that ends. If there are several processes, the first writes, and all stop at one step, whichever
    received the `signal`.
    """

    def __init__(
        self,
        path: Path,
        source: Source,
        share: float,
        epochs: int,
        signal: Callable[[], int],
        log: Callable[[Row], None],
    ) -> None:
        self.path, self.source, self.share, self.epochs = path, source, share, epochs
        self.signal, self.log = signal, log
        self.cost, self.last, self.stopped_by = 0.0, time.monotonic(), 0

    def receive_stop(self) -> bool:
        self.stopped_by = all_reduce_max(self.signal())
        return self.stopped_by > 0

    def due(self) -> bool:
        return rank() == 0 and self.is_cheap() and time.monotonic() - self.last >= MINUTE

    def is_cheap(self) -> bool:
        """Tell whether a checkpoint, as long as the last one took, stays below `share` of the time since then."""
        return self.cost <= self.share * (time.monotonic() - self.last)

    def save(self, state: TrainState) -> None:
        if rank() > 0:
            return
        if state.step or self.is_cheap() or self.stopped_by or len(state.history) == self.epochs:
            started = time.monotonic()
            save_checkpoint(self.path, state, self.source)
            self.last = time.monotonic()
            self.cost = self.last - started
        if state.step == 0:  # an epoch is over
            self.log(state.history[-1])


def previous(path: Path) -> Path:
    """Return the path of the checkpoint before the last one."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: TrainState, source: Source) -> None:
    """Write atomically: whenever the process dies, this checkpoint or the one before is whole."""
    buffer = io.BytesIO()
    torch.save({"source": source._asdict(), "state": vars(state)}, buffer)
    content = buffer.getvalue()
    if path.exists():
        with contextlib.suppress(ValueError):  # a damaged one must not push out the one before it, which is good
            _content(path)
            with naming_unwritable(previous(path)):
                path.replace(previous(path))
    write_atomic(path, FORMAT + hashlib.sha256(content).digest() + content)


def load_checkpoint(path: Path, source: Source) -> tuple[TrainState | None, Source]:
    """Return the state of the last usable checkpoint and its source; where there is none, None and the given one.

    Its precision is another where `auto` chose for another machine. Warns of each unusable file, and why. Raises
    DataChangedError where this run's checkpoint was made from other training images, ValueError where with other code.
    """
    for file in (path, previous(path)):
        if file.exists():
            try:
                made_from, state = read_checkpoint(file)
                if made_from.run != source.run:
                    raise ValueError(f"{file} is of run {made_from.run}, not of {source.run}")
            except ValueError as error:
                warnings.warn(f"checkpoint not used: {error}", stacklevel=2)
                continue
            check_same_images(file, made_from.train_digest, source.train_digest)
            if changed := changed_parts(made_from.code, source.code or {}):
                raise ValueError(
                    f"the code of the {changed} is not that with which {file} was trained: restore it, or start over "
                    "with force=true"
                )
            return state, made_from._replace(code=source.code)  # an earlier version's has none
    return None, source


def read_checkpoint(path: Path) -> tuple[Source, TrainState]:
    """Return source and state of a checkpoint. Raises ValueError naming it when it is damaged or of another format."""
    content = _content(path)
    try:
        stored: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return Source(**stored["source"]), TrainState(**stored["state"])
    except FOREIGN as error:
        raise ValueError(f"{path} is no checkpoint: {type(error).__name__}") from error


def _content(path: Path) -> bytes:
    """Return the bytes after the header. Raises ValueError naming the file when it is not whole."""
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not data.startswith(FORMAT):
        raise ValueError(f"{path} is not of this version's format: it begins with {data[:24]!r}")
    start = len(FORMAT) + 32
    if hashlib.sha256(data[start:]).digest() != data[len(FORMAT) : start]:
        raise ValueError(f"{path} is cut off or altered: its sha256 does not agree")
    return data[start:]
