"""Failure prediction: does the confidence, the largest predictive probability, tell right answers from wrong ones?

Accepted: images with a confidence >= t, for every t at once; images of one confidence are accepted together. N images,
A(t) of them accepted, E(t) of these wrong. Both areas fall with the accuracy: compare losses with it in the same row.
"""

import numpy as np

from oodbench.evaluation.arrays import Array, Labels, checked_log_probs
from oodbench.evaluation.metric import PERMILLE, IDMetric


def aurc(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> area of the risk E / A over the coverage A / N, in [0, 1]; lower is better.

    A images are accepted, those whose largest probability is at least t, and E of them are wrong, for every t.
    Trapezoids between the distinct confidences; below the coverage of the first, its risk (as in Traub et al., 2024).
    """
    accepted, wrong = accepted_and_wrong(log_probs, labels)
    risk = wrong / accepted
    return _area(accepted / len(labels), risk, risk[0])


def augrc(log_probs: Array, labels: Labels) -> float:
    """(N, K), (N,) -> area of the generalized risk E / N over the coverage A / N, in [0, 0.5]; lower is better.

    A and E as in `aurc`; trapezoids between the distinct confidences, from 0 at coverage 0. Equal to
    (1 - a) c (1 - c) + (1 - c)^2 / 2, with the accuracy c and the AUROC a of right against wrong answers by confidence
    (Traub et al., 2024).
    """
    accepted, wrong = accepted_and_wrong(log_probs, labels)
    return _area(accepted / len(labels), wrong / len(labels), 0.0)


def accepted_and_wrong(log_probs: Array, labels: Labels) -> tuple[Array, Array]:
    """(N, K), (N,) -> (U,) A(t) and (U,) E(t), t the U distinct confidences from the largest on"""
    log_probs = checked_log_probs(log_probs, labels)
    log_confidence = log_probs.max(1)  # orders images whose confidence rounds to 1
    order = np.argsort(-log_confidence)
    last = np.append(np.flatnonzero(np.diff(log_confidence[order])), len(order) - 1)  # of each confidence
    wrong = np.cumsum(log_probs.argmax(1)[order] != labels[order])
    return last + 1.0, wrong[last].astype(np.float64)


def _area(coverage: Array, risk: Array, first: float) -> float:
    """(U,), (U,) -> area below the points, with (0, `first`) before them"""
    risk = np.append(first, risk)
    return float(np.diff(coverage, prepend=0.0) @ (risk[1:] + risk[:-1]) / 2)


AUGRC = IDMetric(
    name="augrc",
    function=augrc,
    resampled=None,
    higher_is_better=False,
    unit=PERMILLE,
    heading="AUGRC (‰)",
    definition="area of the share of images that are accepted and wrong over the share accepted, by confidence",
    source="Traub et al., 2024",
    in_tables=False,
)
AURC = IDMetric(
    name="aurc",
    function=aurc,
    resampled=None,
    higher_is_better=False,
    unit=PERMILLE,
    heading="AURC (‰)",
    definition="area of the share of wrong ones among accepted images over the share accepted, by confidence",
    source="Geifman & El-Yaniv, 2017",
    in_tables=False,
)
