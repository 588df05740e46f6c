"""Reliability diagrams: accuracy against confidence in the bins of ECE, with the histogram of confidences."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array, Labels
from oodbench.evaluation.metrics import ECE_BINS
from oodbench.evaluation.metrics.classification import equal_width_bin
from oodbench.report.plot import Bars, Line, Mark, Panel, Plot, percent_axis


class Reliability(NamedTuple):
    """By bin of the largest probability, (B,): images, their mean confidence and accuracy, 0 where there are none."""

    images: Array
    confidence: Array
    accuracy: Array

    @property
    def ece(self) -> float:
        """sum_b n_b / N |accuracy_b - mean confidence_b|"""
        return float((self.images * np.abs(self.accuracy - self.confidence)).sum() / self.images.sum())


def reliability_of(log_probs: Array, labels: Labels, bins: int = ECE_BINS) -> Reliability:
    """(N, K), (N,) -> the bins of ECE (Guo et al., 2017, eq. 1 to 3)"""
    confidence, correct = np.exp(log_probs.max(1)), log_probs.argmax(1) == labels
    bin_of = equal_width_bin(confidence, bins)
    images = np.bincount(bin_of, minlength=bins)
    some = np.maximum(images, 1)
    sums = (np.bincount(bin_of, weights=each, minlength=bins) for each in (confidence, correct.astype(float)))
    return Reliability(images.astype(float), *(each / some for each in sums))


def panel(found: Reliability, title: str, subtitle: str) -> Panel:
    """Draw accuracy by confidence with its distance to the mean confidence; beneath, the share of images."""
    edges = np.arange(len(found.images) + 1) / len(found.images)
    some = found.images > 0
    left, right = edges[:-1][some], edges[1:][some]
    accuracy, confidence = found.accuracy[some], found.confidence[some]
    share = found.images[some] / found.images.sum()
    floor = np.full(some.sum(), -0.32)
    marks: list[Mark] = [
        Bars(left, right, np.zeros(some.sum()), np.minimum(accuracy, confidence), "id"),
        Bars(left, right, np.minimum(accuracy, confidence), np.maximum(accuracy, confidence), "gap"),
        Line([0, 1], [0, 1], "muted", dashed=True, width=1),
        *(Line([a, b], [y, y], "ink", width=1.6) for a, b, y in zip(left, right, accuracy, strict=True)),
        Bars(left, right, floor, floor + 0.24 * share / max(share.max(), 1e-12), "muted"),
    ]
    y = percent_axis("accuracy (%)", ticks=2)._replace(low=-0.34, high=1.02)
    return Panel(title, percent_axis("confidence (%)", ticks=2), y, marks, subtitle, 180, 220)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put pairs of panels side by side, before and after temperature scaling."""
    caption = (
        "Black: accuracy of the ID test images in 15 bins of the largest probability; orange: its distance to the mean "
        "confidence of the bin, which ECE averages; grey: the share of images in the bin. After temperature: "
        "softmax of log p / T, each half of the images with the T of the smallest NLL on the other half."
    )
    return Plot("reliability", "Reliability before and after temperature", panels, caption, min(6, len(panels)))
