"""Named arrays in a safetensors file, with a digest of all that is in it: no bit changes unnoticed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from oodbench.files import write_atomic

Arrays = dict[str, NDArray[Any]]


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], **metadata: str) -> None:
    """Atomically, with words about them."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    about = json.dumps({**metadata, "sha256": _digest(whole, metadata)})
    write_atomic(path, save(whole, metadata={"oodbench": about}))  # of two entries the order would be random


def load_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    """The arrays and the words. Raises ValueError naming the file when it is cut off or altered."""
    try:
        with safe_open(path, framework="numpy") as file:
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            metadata: dict[str, str] = json.loads((file.metadata() or {}).get("oodbench", "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if metadata.pop("sha256", None) != _digest(arrays, metadata):
        raise ValueError(f"{path} is damaged: its sha256 does not agree")
    return arrays, metadata


def _digest(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)  # of a scalar, too, one value
    return digest.hexdigest()
