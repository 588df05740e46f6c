"""What a network says of a set of images, and its file: from here on nothing needs images, a forward pass or torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.storage import load_arrays, save_arrays


class Outputs(NamedTuple):
    """Of N images. float64 where a float32 softmax would tie: it does so for every image past a margin of 17."""

    features: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32]  # (N, C), the K classes first
    log_probs: NDArray[np.float64]  # (N, K)
    ood_score: NDArray[np.float64]  # (N,), the loss's own strangeness
    labels: NDArray[np.int64]  # (N,), -1 where unknown


def concatenate(sets: Iterable[Outputs]) -> Outputs:
    """The images of all sets, one set after the other."""
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*sets, strict=True)))


def save_outputs(path: Path, outputs: Outputs, source: str) -> None:
    """Write atomically, with `source`, the digest of the images they are of."""
    save_arrays(path, outputs._asdict(), source=source)


def load_outputs(path: Path, source: str | None = None) -> Outputs | None:
    """The outputs stored at path; None where there are none, or where they are of other images than `source`.

    Raises ValueError, naming the file, when it is not what was written.
    """
    if not path.exists():
        return None
    arrays, metadata = load_arrays(path)
    if arrays.keys() != set(Outputs._fields) or "source" not in metadata:
        raise ValueError(f"{path} holds {sorted(arrays)} and not the outputs of a run")
    return Outputs(**arrays) if source in (None, metadata["source"]) else None
