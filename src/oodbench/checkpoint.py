"""Checkpoints that a training goes on from, and the weights that it ends with. Neither can run code when read."""

import io
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from oodbench.fit import Progress
from oodbench.runs import write_atomic

FORMAT = 1


def save_progress(path: Path, progress: Progress, config_hash: str) -> None:
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, "config_hash": config_hash, **vars(progress)}, buffer)
    write_atomic(path, buffer.getvalue())


def load_progress(path: Path, config_hash: str) -> Progress | None:
    """The checkpoint at path, None where there is none.

    Raises ValueError naming the file when it is damaged, of another configuration or of another version's format.
    """
    if not path.exists():
        return None
    advice = "delete it to start this run from its beginning"
    try:
        stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its reader stumbles on
        raise ValueError(f"{path} cannot be read ({type(error).__name__}: {error}); {advice}") from error
    if (stored.pop("format"), stored.pop("config_hash")) != (FORMAT, config_hash):
        raise ValueError(f"{path} is of another configuration or format than this run, {config_hash}; {advice}")
    return Progress(**stored)


def save_weights(path: Path, model: nn.Module) -> None:
    write_atomic(path, save({name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}))


def load_weights(path: Path, model: nn.Module) -> None:
    model.load_state_dict(load_file(path))
