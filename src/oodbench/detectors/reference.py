"""`Reference`, the second argument of a detector; `NotApplicable`; helpers that work in blocks of images."""

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.outputs import Outputs

Array = NDArray[np.floating]
BLOCK = 2048  # images at a time: with 512 features 8 MB in float64, which stay in the cache


class NotApplicable(Exception):  # noqa: N818 - a property of the run and not an error
    """A detector cannot judge this run; the message says why, and tables print it."""


class Reference(NamedTuple):
    """Everything a detector may use besides the images it scores; never the test set."""

    train: Outputs  # of the training set without augmentation
    head: Callable[[Array], Array] | None  # (N, D) features -> (N, C) logits; None: unknown
    linear: tuple[Array, Array] | None  # W (K, D), b (K,) if the logits of the K classes are f W' + b
    validation: Outputs | None  # of ID images held out from training, if the run has some

    @property
    def calibration(self) -> Outputs:
        """Outputs from which thresholds, temperatures and templates are estimated: validation, or else train."""
        return self.train if self.validation is None else self.validation

    def weights(self) -> tuple[Array, Array]:
        """-> W (K, D), b (K,) in float64. Raises NotApplicable if the head is not linear."""
        if self.linear is None:
            raise NotApplicable("needs a linear head; this loss has none")
        return self.linear[0].astype(np.float64), self.linear[1].astype(np.float64)

    def apply_head(self, features: Array) -> Array:
        """(N, D) -> (N, C) logits. Raises NotApplicable if the head is unknown."""
        if self.head is None:
            raise NotApplicable("applies the head again; these outputs came without one")
        return self.head(features)


class _WithoutTraining(Reference):
    @property  # its tuple holds outputs on no image, for a detector that unpacks it
    def train(self) -> Any:
        raise NotApplicable("reads outputs of training images, and none are given")


def without_training(
    head: Callable[[Array], Array] | None = None,
    linear: tuple[Array, Array] | None = None,
    validation: Outputs | None = None,
) -> Reference:
    """Return the reference of a network whose training images are not known: what reads them does not apply."""
    rows, single = np.empty((0, 0)), np.empty((0, 0), np.float32)
    no_images = Outputs(single, single, rows, np.empty(0), np.empty(0, np.int64))
    return _WithoutTraining(no_images, head, linear, validation)


def negated_probability(detector: Callable[..., Array]) -> Callable[..., Array]:
    """Mark a detector whose scores are -p, p a probability, for metrics that depend on the scale of a score."""
    detector.is_negated_probability = True  # type: ignore[attr-defined]
    return detector


def check_positive(**hyperparameters: float) -> None:
    """Raise ValueError naming a hyperparameter that is 0 or less."""
    for name, value in hyperparameters.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; it must be positive")


def mean_largest_logit(train: Outputs) -> float:
    """-> mean max_k z_k of the training images. Raises NotApplicable if it is not positive.

    A formula that multiplies by logits presupposes it: minus distances turn its sense round.
    """
    if not (mean := float(class_logits(train).max(1).mean(dtype=np.float64))) > 0:
        raise NotApplicable(f"takes large logits as positive; the training images' largest are {mean:.2g} on average")
    return mean


def class_logits(outputs: Outputs) -> NDArray[np.float32]:
    """-> (N, K), logits of the classes, without further columns of a loss"""
    return outputs.logits[:, : outputs.log_probs.shape[1]]


def normalised(log_probs: Array) -> Array:
    """(N, K) -> (N, K), log p_k / sum_j p_j

    For a softmax nothing changes. K sigmoids do not sum to one: all near 0 would look as certain as one near 1.
    """
    return log_probs - np.logaddexp.reduce(log_probs, axis=1, keepdims=True)


def unit_vectors(features: Array) -> Array:
    """(N, D) -> (N, D), f / |f|; f = 0 stays 0"""
    norm = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))  # float32 squares overflow at 2e19
    norm = np.maximum(norm, np.finfo(features.dtype).tiny).astype(features.dtype)
    return features / norm[:, None]


def rows_by_label(labels: NDArray[np.integer]) -> dict[int, NDArray[np.intp]]:
    """(N,) -> {label: indices of its rows}, labels and rows ascending"""
    present, counts = np.unique(labels, return_counts=True)
    rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    return dict(zip(present.tolist(), rows, strict=True))


def blocks(*arrays: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield the same rows of every array, as views, at most BLOCK at a time. No rows give one empty block.

    The blocks are of one size, up to one row: BLAS rounds a matrix of few rows otherwise than a large one, and images
    with equal outputs must not differ in their scores because some of them are left over for a last, small block.
    """
    n = len(arrays[0])
    parts = max(1, -(-n // BLOCK))
    for i in range(parts):
        yield tuple(array[i * n // parts : (i + 1) * n // parts] for array in arrays)


def in_blocks(function: Callable[..., Array], *arrays: NDArray[Any]) -> Array:
    """function(*arrays), computed for one block of rows after the other"""
    return np.concatenate([function(*block) for block in blocks(*arrays)])


def map_logits(function: Callable[[Array], Array], outputs: Outputs) -> Array:
    """-> (N,), function of the (n, K) class logits in float64, block by block"""
    return in_blocks(lambda z: function(z.astype(np.float64)), class_logits(outputs))


def map_log_probs(function: Callable[[Array], Array], outputs: Outputs) -> Array:
    """-> (N,), function of the (n, K) normalised log-probabilities, block by block"""
    return in_blocks(lambda log_p: function(normalised(log_p)), outputs.log_probs)


def mean_rows(features: Array, rows: NDArray[np.intp]) -> Array:
    """(N, D), (n,) -> (D,), mean of these rows in float64"""
    return sum(features[block].sum(0, dtype=np.float64) for (block,) in blocks(rows)) / len(rows)


def gram_matrix(function: Callable[..., Array], *arrays: NDArray[Any]) -> Array:
    """(N, ...) arrays -> (D, D), X'X in float64; X = function(*arrays), (N, D), exists one block at a time"""
    rows = (function(*block) for block in blocks(*arrays))
    return reduce(np.add, (x.T @ x for x in rows))
