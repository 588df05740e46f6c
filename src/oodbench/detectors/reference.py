"""What a detector is given besides the images it scores, what it raises where it has no score, and work in blocks."""

from collections.abc import Callable, Iterator
from functools import reduce
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


def class_logits(outputs: Outputs) -> NDArray[np.float32]:
    """-> (N, K), without what a loss keeps beyond the classes."""
    return outputs.logits[:, : outputs.log_probs.shape[1]]


def normalised(log_probs: Array) -> Array:
    """(N, K) -> (N, K), the loss's own reading of its logits, made to sum to one.

    A softmax sums to one already. One sigmoid a class does not, and would be called certain where all say no.
    """
    return log_probs - np.logaddexp.reduce(log_probs, axis=1, keepdims=True)


def unit(features: Array) -> Array:
    """(N, D) -> f / |f|; an image without any feature stays at the origin."""
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(norm, np.finfo(norm.dtype).tiny)


def rows_of_each(labels: NDArray[np.integer]) -> dict[int, NDArray[np.intp]]:
    """(N,) -> {label: its rows}, ascending: sorted once, however many labels there are"""
    present, counts = np.unique(labels, return_counts=True)
    rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(present.tolist(), rows, strict=True))


def blocks(*arrays: NDArray) -> Iterator[tuple[NDArray, ...]]:
    """The same rows of every array, BLOCK at a time: views, whose memory does not grow; of no rows one block, too."""
    for i in range(0, max(len(arrays[0]), 1), BLOCK):
        yield tuple(array[i : i + BLOCK] for array in arrays)


def in_blocks(function: Callable[..., Array], *arrays: NDArray) -> Array:
    """function(*arrays), rows in and rows out, for a block of rows after the other."""
    return np.concatenate([function(*block) for block in blocks(*arrays)])


def of_logits(function: Callable[[Array], Array], outputs: Outputs) -> Array:
    """-> (N,), of the K classes' logits in float64, a block after the other"""
    return in_blocks(lambda z: function(z.astype(np.float64)), class_logits(outputs))


def of_log_probs(function: Callable[[Array], Array], outputs: Outputs) -> Array:
    """-> (N,), of the normalised log-probabilities, a block after the other"""
    return in_blocks(lambda log_p: function(normalised(log_p)), outputs.log_probs)


def mean_of(features: Array, rows: NDArray[np.intp]) -> Array:
    """(N, D), (n,) -> (D,), the mean of these rows in float64"""
    return sum(features[block].sum(0, dtype=np.float64) for (block,) in blocks(rows)) / len(rows)


def gram(function: Callable[..., Array], *arrays: NDArray) -> Array:
    """(N, ...) arrays -> (D, D), X'X in float64; X = function(*arrays), (N, D), of which few rows exist at a time"""
    rows = (function(*block) for block in blocks(*arrays))
    return reduce(np.add, (x.T @ x for x in rows))
