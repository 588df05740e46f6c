"""What a network says of a set of images, and its file: from here on nothing needs images, a forward pass or torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from oodbench.runs import write_atomic


class Outputs(NamedTuple):
    """Of N images. float64 where a float32 softmax would tie: it does so for every image past a margin of 17."""

    features: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32]  # (N, C), the K classes first
    log_probs: NDArray[np.float64]  # (N, K)
    ood_score: NDArray[np.float64]  # (N,), the loss's own strangeness
    labels: NDArray[np.int64]  # (N,), -1 where unknown


def joined(sets: Iterable[Outputs]) -> Outputs:
    """The images of all sets, one set after the other."""
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*sets, strict=True)))


def save_outputs(path: Path, outputs: Outputs, source: str) -> None:
    """Write atomically, with `source`, the digest of the images they are of."""
    arrays = {name: np.ascontiguousarray(array) for name, array in outputs._asdict().items()}
    write_atomic(path, save(arrays, metadata={"source": source}))


def load_outputs(path: Path, source: str | None = None) -> Outputs | None:
    """The outputs stored at path; None where there are none, or where they are of other images than `source`.

    Raises ValueError, naming the file, when it is not whole.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            if source is not None and file.metadata()["source"] != source:
                return None
            return Outputs(**{name: file.get_tensor(name) for name in Outputs._fields})
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and repeat the command that made it") from error
