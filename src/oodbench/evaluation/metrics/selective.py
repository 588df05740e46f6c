"""Failure prediction: how well the largest predictive probability separates correct from wrong predictions.

An image is accepted if this confidence is >= t; images of equal confidence are accepted together. Of N images A(t) are
accepted and E(t) of these are wrong. Both areas become smaller as the accuracy grows: print it beside them.
"""

import numpy as np

from oodbench.evaluation.arrays import Array, Labels, checked_log_probs
from oodbench.evaluation.metric import PERMILLE, IDMetric
from oodbench.evaluation.weighted import Counts, running_sums


def aurc(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> area of the risk E / A over the coverage A / N, in [0, 1]; lower is better.

    For every threshold t, A of the N images have a largest probability of at least t and are accepted, E of them are
    wrong. Trapezoids between the distinct confidences; below the first, its risk (as in Traub et al., 2024).
    """
    return float(aurc_of_counts(log_probs, labels, _once(labels))[0])


def augrc(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> area of the generalized risk E / N over the coverage A / N, in [0, 0.5]; lower is better.

    A and E as in `aurc`; trapezoids between the distinct confidences, from 0 at coverage 0. Equal to
    (1 - a) c (1 - c) + (1 - c)^2 / 2, with the accuracy c and the AUROC a of correct against wrong ones by confidence
    (Traub et al., 2024).
    """
    return float(augrc_of_counts(log_probs, labels, _once(labels))[0])


def aurc_of_counts(log_probs: Array, labels: Labels, counts: Counts) -> Array:
    """(N, K), (N,), (N, R) -> (R,), `aurc` of the images repeated so often"""
    accepted, wrong = accepted_and_wrong(log_probs, labels, counts)
    risk = wrong / np.maximum(accepted, 1)
    first = (accepted == 0).sum(0)  # the row of the first accepted image, whose risk holds before it
    columns = np.arange(accepted.shape[1])
    risk[first - 1, columns] = risk[first, columns]
    return _area(accepted, risk)


def augrc_of_counts(log_probs: Array, labels: Labels, counts: Counts) -> Array:
    """(N, K), (N,), (N, R) -> (R,), `augrc` of the images repeated so often"""
    accepted, wrong = accepted_and_wrong(log_probs, labels, counts)
    return _area(accepted, wrong / accepted[-1])


def accepted_and_wrong(log_probs: Array, labels: Labels, counts: Counts) -> tuple[Array, Array]:
    """(N, K), (N,), (N, R) -> (U + 1, R) A(t) and E(t), 0 and then t the U distinct confidences from the largest on"""
    log_probs = checked_log_probs(log_probs, labels)
    log_confidence = log_probs.max(1)  # orders images whose confidence rounds to 1
    order = np.argsort(-log_confidence)
    last = np.append(np.flatnonzero(np.diff(log_confidence[order])), len(order) - 1)  # of each confidence
    is_wrong = (log_probs.argmax(1) != labels)[:, None]
    accepted, wrong = (running_sums(each, order)[np.append(0, last + 1)] for each in (counts, counts * is_wrong))
    return accepted.astype(np.float64), wrong.astype(np.float64)


def _once(labels: Labels) -> Counts:
    return np.ones((len(labels), 1), np.min_scalar_type(len(labels)))


def _area(accepted: Array, risk: Array) -> Array:
    """(U + 1, R), (U + 1, R) -> (R,), area below the risk over the coverage, accepted / accepted[-1]"""
    return (np.diff(accepted, axis=0) * (risk[1:] + risk[:-1])).sum(0) / (2 * accepted[-1])


AUGRC = IDMetric(
    name="augrc",
    function=augrc,
    resampled=augrc_of_counts,
    higher_is_better=False,
    unit=PERMILLE,
    heading="AUGRC (‰)",
    definition="area under the generalized risk-coverage curve: share accepted and wrong, over the share accepted",
    source="Traub et al., 2024",
    in_tables=False,
)
AURC = IDMetric(
    name="aurc",
    function=aurc,
    resampled=aurc_of_counts,
    higher_is_better=False,
    unit=PERMILLE,
    heading="AURC (‰)",
    definition="area under the risk-coverage curve: share of wrong among accepted images, over the share accepted",
    source="Geifman & El-Yaniv, 2017",
    in_tables=False,
)
