"""Checkpoints that a training goes on from, and the weights that it ends with. Neither can run code when read.

A checkpoint is a line that names its format, the sha256 of the rest, and a state that torch reads with weights_only.
The one before it is kept: a file that is cut off, altered, or of another configuration is never used.
"""

import contextlib
import hashlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oodbench.storage import load_arrays, save_arrays, write_atomic
from oodbench.training.distributed import all_reduce_max, rank
from oodbench.training.loop import Row, TrainState

FORMAT = b"oodbench checkpoint 1\n"  # the next number when Progress changes
MINUTE = 60.0  # s, between two checkpoints amid an epoch


class FileCheckpointer:
    """Keeps a training in a file, and spends no more than `share` of the time on that.

    After the first epoch, after the last and before a stop in any case; else after an epoch, or amid a long one, when
    the last checkpoint lies so far back that another is cheap. `log` is given the row of every epoch that ends. Of
    several processes the first keeps, and all stop at one step, whichever has seen the `signal`.
    """

    def __init__(
        self, path: Path, what: str, share: float, epochs: int, signal: Callable[[], int], log: Callable[[Row], None]
    ) -> None:
        self.path, self.what, self.share, self.epochs, self.signal, self.log = path, what, share, epochs, signal, log
        self.cost, self.last, self.stopped_by = 0.0, time.monotonic(), 0

    def stop(self) -> bool:
        self.stopped_by = all_reduce_max(self.signal())
        return self.stopped_by > 0

    def due(self) -> bool:
        return rank() == 0 and self.is_cheap() and time.monotonic() - self.last >= MINUTE

    def is_cheap(self) -> bool:
        """Whether the time since the last checkpoint is worth the seconds that it took."""
        return self.cost <= self.share * (time.monotonic() - self.last)

    def save(self, progress: TrainState) -> None:
        if rank() > 0:
            return
        if progress.step or self.is_cheap() or self.stopped_by or len(progress.history) == self.epochs:
            started = time.monotonic()
            save_checkpoint(self.path, progress, self.what)
            self.last = time.monotonic()
            self.cost = self.last - started
        if progress.step == 0:  # an epoch is over
            self.log(progress.history[-1])


def previous(path: Path) -> Path:
    """Where the checkpoint before the last one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, progress: TrainState, config_hash: str) -> None:
    """Atomically; whatever moment the process dies at, this checkpoint or the one before is whole."""
    buffer = io.BytesIO()
    torch.save({"config_hash": config_hash, **vars(progress)}, buffer)
    state = buffer.getvalue()
    if path.exists():
        with contextlib.suppress(ValueError):  # a damaged one must not push out the one before it, which is good
            _state(path)
            path.replace(previous(path))
    write_atomic(path, FORMAT + hashlib.sha256(state).digest() + state)


def load_checkpoint(path: Path, config_hash: str) -> TrainState | None:
    """The last checkpoint that can be used, None where there is none. Warns of every file that cannot, and why."""
    for file in (path, previous(path)):
        if file.exists():
            try:
                return read_checkpoint(file, config_hash)
            except ValueError as error:
                warnings.warn(f"checkpoint not used: {error}", stacklevel=2)
    return None


def read_checkpoint(path: Path, config_hash: str) -> TrainState:
    """The checkpoint in a file. Raises ValueError naming it when it is damaged, of another format or configuration."""
    stored: dict[str, Any] = torch.load(io.BytesIO(_state(path)), map_location="cpu", weights_only=True)
    made_by = stored.pop("config_hash")
    if made_by != config_hash:
        raise ValueError(f"{path} is of configuration {made_by}, this run is {config_hash}")
    return TrainState(**stored)


def _state(path: Path) -> bytes:
    """What follows the header, whole. Raises ValueError naming the file when it is not."""
    data = path.read_bytes()
    if not data.startswith(FORMAT):
        raise ValueError(f"{path} is not of this version's format: it begins with {data[:24]!r}")
    start = len(FORMAT) + 32
    if hashlib.sha256(data[start:]).digest() != data[len(FORMAT) : start]:
        raise ValueError(f"{path} is cut off or altered: its sha256 does not agree")
    return data[start:]


def save_weights(path: Path, model: nn.Module) -> None:
    """Parameters and buffers, as safetensors."""
    save_arrays(path, {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()})


def load_weights(path: Path, model: nn.Module) -> None:
    """Raises ValueError naming the file when it is damaged, RuntimeError when it is not of such a model."""
    arrays, _ = load_arrays(path)
    try:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    except RuntimeError as error:
        raise RuntimeError(f"{path} is of another network: {error}") from error
