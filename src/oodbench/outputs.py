"""Outputs, the only thing that passes from training to evaluation: images are needed by image detectors alone then."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LABELLED_SETS = ("train", "test", "val")  # the sets whose labels are classes of the network


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


def read_only(outputs: Outputs) -> Outputs:
    """Return views of the arrays in which nothing can be written."""
    return type(outputs)(*(_read_only(array) for array in outputs))


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


def problem_of(outputs: Outputs, of_classes: bool) -> str:
    """Say why the arrays are not a network's outputs on N images; "" where they are. of_classes: labels are 0..K-1."""
    shapes = [array.shape for array in outputs]
    if [*map(len, shapes)] != [2, 2, 2, 1, 1] or len({shape[0] for shape in shapes}) > 1 or 0 in shapes[2]:
        return f"arrays of shapes {', '.join(map(str, shapes))}"
    kinds = "".join(array.dtype.kind for array in outputs)
    if kinds[:4] != "ffff" or kinds[4] not in "iu":
        return f"arrays of types {', '.join(array.dtype.name for array in outputs)}"
    K = outputs.log_probs.shape[1]
    if outputs.logits.shape[1] < K:
        return f"logits of {outputs.logits.shape[1]} classes and probabilities of {K}"
    if of_classes and not (outputs.labels.min() >= 0 and outputs.labels.max() < K):
        return f"labels other than those of {K} classes"
    return ""
