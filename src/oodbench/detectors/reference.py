"""What a detector is given besides the images it scores, what it raises where it has no score, and work in blocks."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.outputs import Outputs

Array = NDArray[np.floating]
BLOCK = 2048  # images at a time: of 512 features 8 MB in float64, which stay in a cache


class NotApplicable(Exception):  # noqa: N818 - a finding about this run, and no error of anybody
    """This run has no such score; the message says why and stands beneath the table."""


class Reference(NamedTuple):
    """What a detector may know besides the images it scores. Never the test set."""

    train: Outputs  # of the training set, images not augmented
    head: Callable[[Array], Array]  # (N, D) features -> (N, C) logits
    linear: tuple[Array, Array] | None  # W (K, D), b (K,) where the K classes' logits are f W' + b
    validation: Outputs | None  # of ID images that were not trained on, where a run keeps some

    @property
    def calibration(self) -> Outputs:
        """What a threshold, a temperature or a template is taken from: held-out images if there are any, else train."""
        return self.train if self.validation is None else self.validation

    def weights(self) -> tuple[Array, Array]:
        """-> W (K, D), b (K,) in float64. Raises NotApplicable where the head is not linear."""
        if self.linear is None:
            raise NotApplicable("needs a linear head; this loss has none")
        return self.linear[0].astype(np.float64), self.linear[1].astype(np.float64)


def class_logits(outputs: Outputs) -> Array:
    """-> (N, K) in float64, without what a loss keeps beyond the classes."""
    return outputs.logits[:, : outputs.log_probs.shape[1]].astype(np.float64)


def class_log_probs(outputs: Outputs) -> Array:
    """-> (N, K), the loss's own reading of its logits, made to sum to one.

    A softmax sums to one already. One sigmoid a class does not, and would be called certain where all say no.
    """
    p = outputs.log_probs
    return p - np.logaddexp.reduce(p, axis=1, keepdims=True)


def unit(features: Array) -> Array:
    """(N, D) -> f / |f|; an image without any feature stays at the origin."""
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norm, np.finfo(norm.dtype).tiny)


def in_blocks(function: Callable[..., Array], *arrays: Array, size: int | None = None) -> Array:
    """function(*arrays), rows in and rows out, for a block of rows after the other: its memory does not grow."""
    size = size or BLOCK
    starts = range(0, max(len(arrays[0]), 1), size)
    return np.concatenate([function(*(array[i : i + size] for array in arrays)) for i in starts])
