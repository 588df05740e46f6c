"""Outputs of any network from arrays or tensors, checked."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax

from oodbench.data.split import UNKNOWN
from oodbench.detectors.logits import log_odds_of_error
from oodbench.detectors.reference import NotApplicable
from oodbench.outputs import Outputs

LARGEST = 1e-6  # of a log-probability, by rounding


class LogitsAlone(Outputs):
    """Outputs without features: a detector that reads them does not apply."""

    @property
    def features(self) -> Any:
        raise NotApplicable("reads features, and these outputs have none")


def from_arrays(
    logits: ArrayLike,
    labels: ArrayLike | None = None,
    features: ArrayLike | None = None,
    log_probs: ArrayLike | None = None,
    ood_score: ArrayLike | None = None,
) -> Outputs:
    """Return a network's outputs on N images from arrays or tensors of any origin.

    logits, (N, C), the K classes first; labels, (N,), are not needed of OOD images; features, (N, D), for detectors
    that read them. Without log_probs, (N, K), the softmax of the logits; without ood_score, (N,), -max_k log p_k, in
    which images whose p rounds to 1 do not tie, unless log_probs are given.
    Raises ValueError for shapes that do not agree, for what is not finite, and for labels that are no whole numbers.
    """
    z = _array("logits", logits, 2, np.float32)
    if log_probs is None:
        warn_of_probabilities("logits", z)
        wide = z.astype(np.float64)
        p, score = log_softmax(wide, axis=1), np.logaddexp(0, log_odds_of_error(wide))
    else:
        p = _array("log_probs", log_probs, 2, np.float64)
        score = -p.max(1)
    if ood_score is not None:
        score = _array("ood_score", ood_score, 1, np.float64)
    f = np.empty((len(z), 0), np.float32) if features is None else _array("features", features, 2, np.float32)
    kind = LogitsAlone if features is None else Outputs
    arrays: dict[str, Any] = {
        "features": f,
        "logits": z,
        "log_probs": p,
        "ood_score": score,
        "labels": labels_of(labels, len(z)),
    }
    if odd := {name: array.shape for name, array in arrays.items() if len(array) != len(z)}:
        raise ValueError(f"logits are of {len(z)} images, and {', '.join(f'{n} of {s[0]}' for n, s in odd.items())}")
    if z.shape[1] < p.shape[1]:
        raise ValueError(f"log_probs are of {p.shape[1]} classes, logits of {z.shape[1]}")
    if p.max() > LARGEST:
        raise ValueError(f"log_probs go up to {p.max():.3g}; the logarithm of a probability is at most 0")
    arrays["log_probs"] = np.minimum(p, 0)
    return kind(**arrays)


def warn_of_probabilities(name: str, logits: NDArray[np.float32]) -> None:
    """Warn where (N, K) logits look like probabilities, whose softmax is not what the network predicts."""
    if logits.shape[1] > 1 and logits.min() >= 0 and np.abs(logits.sum(1, dtype=np.float64) - 1).max() < 1e-3:
        warnings.warn(
            f"{name} are never negative and every row's sum is 1: if they are probabilities, give their logarithm; "
            "a softmax of them is taken now",
            stacklevel=3,
        )


def _array(name: str, values: Any, ndim: int, dtype: Any) -> NDArray[Any]:
    """Return values, or a tensor, as an array. Raises ValueError where it has another shape or is not finite."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if "bfloat16" in str(values.dtype) else values  # which NumPy does not have
    given = np.asarray(values)
    kinds, needed = ("iu", "whole numbers") if dtype is np.int64 else ("fiu", "numbers")
    if given.dtype.kind not in kinds:
        raise ValueError(f"{name} are {given.dtype}; {needed} are needed")
    array = np.ascontiguousarray(given, dtype)
    if dtype is np.int64 and (array != given).any():
        raise ValueError(f"{name} are {given.dtype} beyond int64")
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{name} have shape {array.shape}; {('a number', 'a row')[ndim - 1]} an image is needed")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} are not all finite")
    return array


def labels_of(labels: Any, n: int) -> NDArray[np.int64]:
    """-> (N,); UNKNOWN where none are given"""
    return np.full(n, UNKNOWN) if labels is None else _array("labels", labels, 1, np.int64)
