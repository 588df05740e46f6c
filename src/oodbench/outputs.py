"""Outputs, the only thing that passes from training to evaluation: from here on nothing needs images or torch."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Outputs(NamedTuple):
    """A network's outputs on N images. float64 where a float32 softmax would tie: it does so past a margin of 17."""

    features: NDArray[np.float32]  # (N, D)
    logits: NDArray[np.float32]  # (N, C), the K classes first
    log_probs: NDArray[np.float64]  # (N, K)
    ood_score: NDArray[np.float64]  # (N,), the loss's own OOD score
    labels: NDArray[np.int64]  # (N,), -1 where unknown


def concatenate(sets: Iterable[Outputs]) -> Outputs:
    """Return the images of all sets, one set after the other."""
    sets = list(sets)
    return type(sets[0])(*(np.concatenate(arrays) for arrays in zip(*sets, strict=True)))
