"""The classifier on ID test images: accuracy, and errors of its probabilities.

Functions of log-probabilities, (N, K), whose rows need not sum to one, and labels, (N,). Shares in [0, 1], but `nll` in
nats and `brier` in [0, 2] for probabilities that sum to one. Nothing is interpolated. Empty input, NaN and an
infinite probability raise ValueError.
"""

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array, Labels, checked, checked_log_probs
from oodbench.evaluation.metric import NATS, SHARE, SQUARED_ERROR, IDMetric, Means

ECE_BINS = 15


def accuracy(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> share of images whose most probable class is the label; higher is better."""
    return float(np.mean(checked_log_probs(log_probs, labels).argmax(1) == labels))


def ece(confidence: Array, correct: NDArray[np.bool_], bins: int = ECE_BINS) -> float:
    """(N,), (N,) -> sum_b n_b / N |accuracy_b - mean confidence_b|; lower is better (Guo et al., 2017, eq. 3).

    Equal-width bins (lo, hi] of [0, 1]; a confidence of 1 is in the last, one of 0 in the first.
    """
    confidence = checked_confidence(confidence)
    gap = np.bincount(equal_width_bin(confidence, bins), weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def equal_width_bin(confidence: Array, bins: int = ECE_BINS) -> NDArray[np.intp]:
    """(N,) -> (N,), b where confidence is in (b / bins, (b + 1) / bins]; 0 is in the first.

    Raises ValueError for a value that is not a probability.
    """
    return np.searchsorted(np.arange(1, bins) / bins, checked_confidence(confidence), side="left")


def checked_confidence(confidence: Array) -> Array:
    """(N,) -> (N,) in float64. Raises ValueError for a value that is not a probability."""
    confidence = checked("confidences", confidence)
    if confidence.min() < 0 or confidence.max() > 1 + 1e-9:  # a softmax's largest may be off by rounding
        raise ValueError(f"confidences are in [{confidence.min()}, {confidence.max()}]; probabilities are in [0, 1]")
    return confidence


def confidence_ece(log_probs: Array, labels: Labels) -> float:
    """sum_b n_b / N |accuracy_b - mean confidence_b| over bins (lo, hi] of equal width (Guo et al., 2017, eq. 3)."""
    return ece(*predictions(log_probs, labels))


def adaptive_ece(log_probs: Array, labels: Labels, bins: int = ECE_BINS) -> float:
    """sum_b n_b / N |accuracy_b - mean confidence_b| over bins of equally many images (Nguyen & O'Connor, 2015).

    Images are sorted by confidence; the sizes of bins differ by one at most. Images of equal confidence count with
    their mean accuracy, so the result does not depend on their order.
    """
    confidence, correct = predictions(log_probs, labels)
    _, value, count = np.unique(checked("confidences", confidence), return_inverse=True, return_counts=True)
    gap = (np.bincount(value, weights=correct) / count)[value] - confidence
    ordered = gap[np.argsort(confidence, kind="stable")]
    return float(sum(abs(part.sum()) for part in np.array_split(ordered, bins)) / len(gap))


def classwise_ece(log_probs: Array, labels: Labels, bins: int = ECE_BINS) -> float:
    """1/K sum_k sum_b n_kb / N |share of class k in bin b of p_k - mean p_k in it| (Kull et al., 2019)

    Every probability counts, not only the largest. The "static calibration error" of Nixon et al. (2019).
    """
    p = np.exp(checked_log_probs(log_probs, labels))
    return float(np.mean([ece(p[:, k], labels == k, bins) for k in range(p.shape[1])]))


def mce(log_probs: Array, labels: Labels, bins: int = ECE_BINS) -> float:
    """max_b |accuracy_b - mean confidence_b| over the bins of ECE that have images (Guo et al., 2017, sec. 2).

    A single image alone in its bin can decide it, so it is the noisiest of these metrics.
    """
    confidence, correct = predictions(log_probs, labels)
    bin_of = equal_width_bin(confidence, bins)
    gap, count = np.bincount(bin_of, weights=correct - confidence), np.bincount(bin_of)
    return float((np.abs(gap) / np.maximum(count, 1)).max())


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


def predictions(log_probs: Array, labels: Labels) -> tuple[Array, NDArray[np.bool_]]:
    """(N, K), (N,) -> (N,) largest probability, (N,) True where its class is the label"""
    log_probs = checked_log_probs(log_probs, labels)
    return np.exp(log_probs.max(1)), log_probs.argmax(1) == labels


def _gaps(log_probs: Array, labels: Labels) -> Array:
    """(N, K), (N,) -> (ECE_BINS, N), correct - confidence of an image in its bin, 0 elsewhere"""
    confidence, correct = predictions(log_probs, labels)
    gaps = np.zeros((ECE_BINS, len(labels)))
    gaps[equal_width_bin(confidence), np.arange(len(labels))] = correct - confidence
    return gaps


def _only(means: Array) -> Array:
    """(1, R) -> (R,)"""
    return means[0]


ACCURACY = IDMetric(
    name="accuracy",
    function=accuracy,
    resampled=Means(lambda log_probs, labels: np.array([log_probs.argmax(1) == labels], float), _only),
    higher_is_better=True,
    unit=SHARE,
    heading="Accuracy",
    definition="share of images whose most probable class is the label",
    source="",
)
ECE = IDMetric(
    name="ece",
    function=confidence_ece,
    resampled=Means(_gaps, lambda means: np.abs(means).sum(0)),
    biased_upwards=True,
    higher_is_better=False,
    unit=SHARE,
    heading="ECE",
    definition=f"expected calibration error, {ECE_BINS} equal-width bins (lo, hi] of the largest class probability",
    source="Guo et al., 2017, eq. 3",
    calibration=True,
)
ADAPTIVE_ECE = IDMetric(
    name="adaptive_ece",
    function=adaptive_ece,
    resampled=None,
    higher_is_better=False,
    unit=SHARE,
    heading="adaptive ECE",
    definition=f"ECE over {ECE_BINS} bins of equally many images",
    source="Nguyen & O'Connor, 2015",
    calibration=True,
    top_level=False,
)
CLASSWISE_ECE = IDMetric(
    name="classwise_ece",
    function=classwise_ece,
    resampled=None,
    higher_is_better=False,
    unit=SHARE,
    heading="class-wise ECE",
    definition="mean over the classes of the ECE of each class's probability",
    source="Kull et al., 2019",
    calibration=True,
    top_level=False,
)
MCE = IDMetric(
    name="mce",
    function=mce,
    resampled=None,
    higher_is_better=False,
    unit=SHARE,
    heading="MCE",
    definition="largest gap between accuracy and mean confidence of the bins of ECE",
    source="Guo et al., 2017, sec. 2",
    calibration=True,
    top_level=False,
)
NLL = IDMetric(
    name="nll",
    function=nll,
    resampled=Means(lambda log_probs, labels: nll_of_each(log_probs, labels)[None], _only),
    higher_is_better=False,
    unit=NATS,
    heading="NLL",
    definition="mean -log p of the label, in nats",
    source="",
    calibration=True,
    proper_score=True,
    in_tables=False,
)
BRIER = IDMetric(
    name="brier",
    function=brier,
    resampled=Means(lambda log_probs, labels: brier_of_each(log_probs, labels)[None], _only),
    higher_is_better=False,
    unit=SQUARED_ERROR,
    heading="Brier",
    definition="mean squared distance of the probabilities to the label's, in [0, 2]",
    source="Brier, 1950",
    calibration=True,
    proper_score=True,
    in_tables=False,
)
