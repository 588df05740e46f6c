"""Pretrained weights: in the layout of OpenOOD v1.5's checkpoints, or as this project stores them."""

import hashlib
import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from oodbench.losses.objective import Objective
from oodbench.model import Classifier, predict, reproduces
from oodbench.phrases import printable
from oodbench.runs.config import read_config
from oodbench.runs.identity import Config
from oodbench.storage import load_arrays
from oodbench.targets import trusted

HEADER = 1000  # bytes in which a file of ours names its metadata
NESTED = ("state_dict", "net", "model")  # where training scripts put it, beside an optimizer and an epoch


def load_pretrained(path: Path, model: Classifier) -> str:
    """Load a file of weights, which cannot run code, into the model; return the file's sha256.

    path: model.safetensors of a run, or a torch file. Raises ValueError naming the file, and the keys, unless the file
    has every weight of the model and no other.
    """
    data = path.read_bytes()
    theirs = {our_name(key): (key, tensor) for key, tensor in stored_weights(path, data).items()}
    wanted = model.state_dict()
    wrong = [f"has no {openood_name(key)}" for key in wanted.keys() - theirs.keys()]
    wrong += [f"has {theirs[key][0]}, which the network does not" for key in theirs.keys() - wanted.keys()]
    for key in theirs.keys() & wanted.keys():
        name, tensor = theirs[key]
        if wanted[key].ndim == 0 and tensor.numel() == 1:  # batch norm's counter; some exports store it as shape (1,)
            theirs[key] = name, tensor = name, tensor.reshape(())
        if tensor.shape != wanted[key].shape:
            wrong.append(f"{name} has shape {tuple(tensor.shape)}, the network's {tuple(wanted[key].shape)}")
        elif not tensor.isfinite().all():
            wrong.append(f"{name} is not finite")
    if wrong:
        raise ValueError(f"{path} is not of this network:\n  " + "\n  ".join(sorted(wrong)))
    model.load_state_dict({key: tensor for key, (_, tensor) in theirs.items()})
    return hashlib.sha256(data).hexdigest()


def check_same_settings(path: Path, model: Classifier, config: Config) -> None:
    """Check a model with the weights of a run of this project against the config.yaml beside them; others have none.

    A file of weights lacks numbers that the outputs depend on, such as a head's temperature and the mean of the images.
    Raises ValueError naming the settings that give other outputs.
    """
    beside = path.parent / "config.yaml"
    if not beside.is_file():
        return
    sizes: dict[str, Any] = {
        "num_features": model.backbone.num_features,
        "num_classes": config["dataset"]["num_classes"],
    }
    try:
        theirs = read_config(beside)
        objective: Objective = trusted(theirs["loss"], "losses", **sizes)
        objective.load_state_dict(model.objective.state_dict())
        found = {f"dataset.{key}": list(map(float, theirs["dataset"][key])) for key in ("mean", "std")}
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError):  # of something else, or of older code
        return
    here = {f"dataset.{key}": list(map(float, config["dataset"][key])) for key in ("mean", "std")}
    features = 10 * torch.randn(100, sizes["num_features"], generator=torch.Generator().manual_seed(0))
    if not reproduces(objective, predict(model.objective, features, np.zeros(len(features), dtype=np.int64))):
        found |= {f"loss.{key}": value for key, value in theirs["loss"].items()}
        here |= {f"loss.{key}": value for key, value in config["loss"].items()}
    if differing := [key for key in found | here if found.get(key) != here.get(key)]:
        told = ", ".join(f"{key}={found.get(key)} (here {here.get(key)})" for key in differing)
        raise ValueError(f"{path} was trained with {printable(told)}: set the same, or copy the file elsewhere")


def stored_weights(path: Path, data: bytes) -> Mapping[str, Tensor]:
    """Return {name: tensor} of a file's content. Raises ValueError where it is no file of weights."""
    if path.suffix == ".safetensors" and b'"oodbench"' in data[:HEADER]:  # ours has a checksum
        return {name: torch.from_numpy(array) for name, array in load_arrays(path)[0].items()}
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(data)
        stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, SafetensorError) as error:
        raise ValueError(f"{path} is no file of tensors alone; save the network's state_dict() to it") from error
    return weights_in(path, stored)


def weights_in(path: Path, stored: Any) -> Mapping[str, Tensor]:
    """Return the state dict, which may lie under one of NESTED."""
    for nested in NESTED:
        if isinstance(stored, Mapping) and isinstance(stored.get(nested), Mapping):
            stored = stored[nested]
    if not isinstance(stored, Mapping) or not stored:
        raise ValueError(f"{path} holds a {type(stored).__name__} and no weights")
    if other := [str(key) for key, value in stored.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{path} holds {', '.join(other[:10])}, no tensors; weights may lie under {', '.join(NESTED)}")
    return stored


def our_name(key: str) -> str:
    """Translate a name of OpenOOD's files into the model's; a run's own names stay.

    module.layer2.0.downsample.0.weight -> backbone.layer2.0.shortcut.0.weight, fc.bias -> objective.head.bias,
    block1.layer.0.convShortcut.weight -> backbone.block1.0.shortcut.weight
    """
    key = key.removeprefix("module.")
    if key.startswith(("backbone.", "objective.")):
        return key
    if key.startswith("fc."):
        return f"objective.head.{key.removeprefix('fc.')}"
    key = re.sub(r"^(layer\d\.\d+)\.downsample\.", r"\1.shortcut.", key)
    return "backbone." + re.sub(r"^(block\d)\.layer\.", r"\1.", key).replace(".convShortcut.", ".shortcut.")


def openood_name(key: str) -> str:
    """Translate a name of the model into that of OpenOOD's files: backbone.conv1.weight -> conv1.weight"""
    key = key.removeprefix("backbone.").replace("objective.head.", "fc.")
    if key.startswith("block"):
        key = re.sub(r"^(block\d)\.", r"\1.layer.", key).replace(".shortcut.", ".convShortcut.")
    return key
