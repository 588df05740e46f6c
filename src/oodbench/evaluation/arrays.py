"""The arrays that metrics are functions of, and their checks."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]


def checked(name: str, scores: Array) -> Array:
    """(N,) -> (N,) in float64. Raises ValueError, with the name, for no image, a NaN and a score that is not finite."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"{name} have shape {scores.shape}; one score per image is needed, and at least one image")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} of {len(scores)} are not finite, the first is {scores[bad[0]]} at {bad[0]}"
        )
    return scores


def checked_log_probs(log_probs: Array, labels: Labels) -> Array:
    """(N, K), (N,) -> (N, K) in float64. Raises ValueError for no image, NaN, +inf and another number of labels."""
    log_probs = np.asarray(log_probs, dtype=np.float64)
    if log_probs.ndim != 2 or len(log_probs) == 0 or len(log_probs) != len(labels):
        raise ValueError(
            f"log_probs have shape {log_probs.shape} with {len(labels)} labels; one row per image is needed"
        )
    wrong = np.isnan(log_probs) | (log_probs == np.inf)  # log 0 is -inf
    if wrong.any():
        rows = np.flatnonzero(wrong.any(1))
        what = f"log_probs of {len(rows)} of {len(labels)} images"
        raise ValueError(f"{what} are NaN or infinite, the first of image {rows[0]}")
    return log_probs
