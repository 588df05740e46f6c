"""The stratified percentile bootstrap: how the numbers of one run vary with the test images.

ID and OOD images are drawn with replacement, each kind from its own (Efron & Tibshirani, 1993, sec. 8.3 and 13.3). A
resample is how often every image was drawn, a column of counts (see `weighted`), so that scores are sorted once.

The seed and the number of images fix what is drawn: every detector, OOD set and run meets the same ID images, and every
detector and run the same images of an OOD set, if all hold the images in one order. So differences of resampled values
are paired, and their mean over OOD sets is a resample of the mean, if the order of a set's files does not go with the
scores: sets of one size share their draws. An interval is about the images; it says nothing of another training seed.
A metric without a form for resampled images is left out.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby

import numpy as np

from oodbench.evaluation.arrays import Array, Labels
from oodbench.evaluation.metric import IDMetric, Means
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.evaluation.weighted import Counts, Merged, counted, merge, narrowed

RESAMPLES = 1000
BLOCK = 250  # resamples at once: their counts of 26,032 images are 13 MB


def resampled_ood(
    id_scores: Mapping[str, Array], ood_scores: Mapping[str, Array], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Array]]:
    """{detector: (N,)}, {detector: (M,)} of one OOD set -> {detector: {metric: (R,) values}}.

    Raises ValueError naming the detector whose scores are not finite, or not of as many images as the others'.
    """
    merged = {detector: _merged(detector, scores, ood_scores[detector]) for detector, scores in id_scores.items()}
    n, m = _common(id_scores), _common(ood_scores)
    blocks: dict[str, list[dict[str, Array]]] = {detector: [] for detector in merged}
    for id_counts, ood_counts in zip(_draws(n, resamples, [seed, 0]), _draws(m, resamples, [seed, 1]), strict=True):
        for detector, values in metrics_of_counts(merged, id_counts, ood_counts).items():
            blocks[detector].append(values)
    return {
        detector: {name: np.concatenate([block[name] for block in parts]) for name in parts[0]}
        for detector, parts in blocks.items()
    }


def metrics_of_counts(
    orders: Mapping[str, Merged], id_counts: Counts, ood_counts: Counts
) -> dict[str, dict[str, Array]]:
    """{detector: order}, (N, R), (M, R) counts -> {detector: {metric of OOD_METRICS that can be resampled: (R,)}}.

    Raises ValueError for a column that counts no image of one kind.
    """
    forms = {name: metric.resampled for name, metric in OOD_METRICS.items() if metric.resampled}
    counts = narrowed(id_counts, ood_counts)
    values = {}
    for detector, order in orders.items():
        resamples = counted(order, *counts)
        values[detector] = {name: form(resamples) for name, form in forms.items()}
    return values


def resampled_id(log_probs: Array, labels: Labels, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Array]:
    """(N, K), (N,) -> {metric of ID_METRICS that can be resampled: (R,) values}"""
    found: dict[str, Array] = {}
    metrics = [metric for metric in ID_METRICS.values() if metric.resampled]
    of_means = [metric for metric in metrics if isinstance(metric.resampled, Means)]
    for _, group in groupby(of_means, key=lambda metric: metric.function.__module__):
        found |= _resampled_together(list(group), log_probs, labels, resamples, seed)
    for metric in metrics:
        if metric.resampled and not isinstance(metric.resampled, Means):
            blocks = _draws(len(labels), resamples, [seed, 0])
            found[metric.name] = np.concatenate([metric.resampled(log_probs, labels, counts) for counts in blocks])
    return {metric.name: found[metric.name] for metric in metrics}


def _resampled_together(
    some: list[IDMetric], log_probs: Array, labels: Labels, resamples: int, seed: int
) -> dict[str, Array]:
    """-> {metric: (R,)}, all means by one matrix product.

    The product's last bit depends on which rows stand in it, and in which order. So the metrics of a module share one,
    the narrow ones first, and a further metric leaves the others' values as they are.
    """
    forms = {metric.name: metric.resampled for metric in some if isinstance(metric.resampled, Means)}
    parts = {name: form.of_images(log_probs, labels) for name, form in forms.items()}
    parts = dict(sorted(parts.items(), key=lambda part: len(part[1])))
    each, n = np.concatenate(list(parts.values())), len(labels)
    means = np.concatenate([each @ counts for counts in _draws(n, resamples, [seed, 0])], axis=1) / n
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    return {name: forms[name].of_means(rows) for name, rows in zip(parts, np.split(means, ends), strict=True)}


def _merged(detector: str, id_scores: Array, ood_scores: Array) -> Merged:
    try:
        return merge(id_scores, ood_scores)
    except ValueError as error:
        raise ValueError(f"detector {detector}: {error}") from error


def _common(scores: Mapping[str, Array]) -> int:
    """Return how many images all detectors scored."""
    sizes = {detector: len(values) for detector, values in scores.items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"scores of {sizes} images; one resample is of the same images for every detector")
    return next(iter(sizes.values()))


def _draws(images: int, resamples: int, seed: list[int]) -> Iterator[Counts]:
    """Return blocks (images, R) of how often each image is drawn in `images` draws; BLOCK changes none."""
    random = np.random.default_rng(seed)
    dtype = np.min_scalar_type(images)
    for start in range(0, resamples, BLOCK):
        rows = np.empty((min(BLOCK, resamples - start), images), dtype)
        for row in rows:
            row[:] = np.bincount(random.integers(images, size=images), minlength=images)
        yield np.ascontiguousarray(rows.T)
