"""The numbers, as pure functions of arrays.

Scores are strangeness: in-distribution low, out-of-distribution high. Every metric is a share in [0, 1], but `nll` in
nats and `brier` in [0, 2] for probabilities that sum to one; percent only in tables. Ties count as the definitions say,
nothing is interpolated. Empty input, a NaN and a score that is not finite raise ValueError.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Labels = NDArray[np.integer]
ECE_BINS = 15


def checked(name: str, scores: Array) -> Array:
    """(N,) -> (N,) in float64; raises ValueError, with the name, for no image, a NaN and what is not finite."""
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or len(scores) == 0:
        raise ValueError(f"{name} have shape {scores.shape}; one score an image is needed, and one image at least")
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(
            f"{name}: {len(bad)} of {len(scores)} are not finite, the first is {scores[bad[0]]} at {bad[0]}"
        )
    return scores


def checked_log_probs(log_probs: Array, labels: Labels) -> Array:
    """(N, K), (N,) -> (N, K); raises ValueError for no image, a NaN and another number of labels."""
    if log_probs.ndim != 2 or len(log_probs) == 0 or len(log_probs) != len(labels):
        raise ValueError(f"log_probs have shape {log_probs.shape} with {len(labels)} labels; a row an image is needed")
    if np.isnan(log_probs).any():
        rows = np.flatnonzero(np.isnan(log_probs).any(1))
        raise ValueError(f"log_probs of {len(rows)} of {len(labels)} images are NaN, the first of image {rows[0]}")
    return log_probs


def accuracy(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> share of images whose most probable class is the label; higher is better."""
    return float(np.mean(checked_log_probs(log_probs, labels).argmax(1) == labels))


def ece(confidence: Array, correct: NDArray[np.bool_], bins: int = ECE_BINS) -> float:
    """(N,), (N,) -> sum_b n_b / N |accuracy_b - mean confidence_b|; lower is better (Guo et al., 2017, eq. 3).

    Equal-width bins (lo, hi] of [0, 1]; a confidence of 1 is in the last, one of 0 in the first.
    """
    gap = np.bincount(equal_width_bin(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def equal_width_bin(confidence: Array, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """(N,) -> (N,), b where confidence is in (b / bins, (b + 1) / bins]; 0 is in the first.

    Raises ValueError for what is no probability.
    """
    confidence = checked("confidences", confidence)
    if confidence.min() < 0 or confidence.max() > 1 + 1e-9:  # a softmax's largest may be off by rounding
        raise ValueError(f"confidences are in [{confidence.min()}, {confidence.max()}]; probabilities are in [0, 1]")
    return np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")


def nll(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> mean -log p(label), in nats; lower is better."""
    return float(np.mean(nll_of_each(log_probs, labels)))


def nll_of_each(log_probs: Array, labels: Labels) -> Array:
    """(N, K), (N,) -> (N,), -log p(label), in nats"""
    return -checked_log_probs(log_probs, labels)[np.arange(len(labels)), labels]


def brier(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> mean_i sum_k (p_ik - [k = y_i])^2, in [0, 2]; lower is better (Brier, 1950)."""
    return float(np.mean(brier_of_each(log_probs, labels)))


def brier_of_each(log_probs: Array, labels: Labels) -> Array:
    """(N, K), (N,) -> (N,), sum_k (p_k - [k = y])^2"""
    error = np.exp(checked_log_probs(log_probs, labels))
    error[np.arange(len(labels)), labels] -= 1
    return np.square(error).sum(1)


def auroc(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> P(ood > id) + P(ood = id) / 2 over all pairs; higher is better, 0.5 is chance."""
    id_scores, ood_scores = np.sort(checked("ID scores", id_scores)), checked("OOD scores", ood_scores)
    below = np.searchsorted(id_scores, ood_scores, side="left")
    not_above = np.searchsorted(id_scores, ood_scores, side="right")
    return float((below + not_above).mean() / (2 * len(id_scores)))


def fpr95_idpos(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> share of OOD accepted by the lowest threshold that accepts 95 % of ID; lower is better.

    ID is the positive class: the convention of ODIN and Energy. Accepted: score <= threshold.
    """
    threshold = _smallest_reaching_95(checked("ID scores", id_scores))
    return float(np.mean(checked("OOD scores", ood_scores) <= threshold))


def fpr95_oodpos(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> share of ID flagged by the highest threshold that flags 95 % of OOD; lower is better.

    OOD is the positive class: the convention of OpenOOD v1.5 and pytorch-ood. Flagged: score >= threshold.
    """
    threshold = -_smallest_reaching_95(-checked("OOD scores", ood_scores))
    return float(np.mean(checked("ID scores", id_scores) >= threshold))


def _smallest_reaching_95(scores: Array) -> float:
    k = -(-95 * len(scores) // 100)  # ceil, in integers
    return float(np.partition(scores, k - 1)[k - 1])


def aupr_in(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> average precision with ID as the positive class; higher is better, N / (N + M) is chance."""
    return _average_precision(-checked("ID scores", id_scores), -checked("OOD scores", ood_scores))


def aupr_out(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> average precision with OOD as the positive class; higher is better, M / (N + M) is chance."""
    return _average_precision(checked("OOD scores", ood_scores), checked("ID scores", id_scores))


def _average_precision(positive: Array, negative: Array) -> float:
    """sum_t (recall_t - recall_t-1) precision_t: the mean, over the positives, of the precision at their own score."""
    true = len(positive) - np.searchsorted(np.sort(positive), positive, side="left")
    false = len(negative) - np.searchsorted(np.sort(negative), positive, side="left")
    return float(np.mean(true / (true + false)))


ID_METRICS = ("accuracy", "ece", "nll", "brier")  # of the learnt set's test images
OOD_METRICS = {f.__name__: f for f in (auroc, fpr95_idpos, fpr95_oodpos, aupr_in, aupr_out)}
