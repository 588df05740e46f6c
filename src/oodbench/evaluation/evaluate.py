"""Outputs and detectors -> the numbers of one run."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation.bootstrap import resampled_id, resampled_ood
from oodbench.evaluation.calibration import calibration
from oodbench.evaluation.metric import Metric, OODMetric, arrays_key
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS
from oodbench.outputs import Outputs, concatenate

Detector = Callable[[Outputs, Reference], Array]


def evaluate(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> tuple[dict[str, Any], dict[str, Array]]:
    """-> the numbers and their bootstrap resamples.

    {metric of ID_METRICS: value, "calibration": see `oodbench.evaluation.calibration`,
    "ood": {set: {detector: {metric of OOD_METRICS: value}}}, "not_applicable": {detector: why it has none}}, plain
    numbers; and {"accuracy", ... or "<set>/<detector>/<metric>": (R,) values on resampled images}.

    Units and directions: the metrics' records. Raises ValueError naming the detector whose score is not finite.
    """
    scores, not_applicable = all_scores(test, ood, detectors, reference)
    numbers: dict[str, Any] = {name: metric(test.log_probs, test.labels) for name, metric in ID_METRICS.items()}
    numbers |= {"calibration": calibration(test, seed=0), "ood": {name: {} for name in ood}}
    numbers["not_applicable"] = not_applicable
    resamples = resampled_id(test.log_probs, test.labels)
    defined = {name: metrics_for(detectors[name]) for name in scores}
    for set_name in ood:
        id_scores = {detector: of["test"] for detector, of in scores.items()}
        ood_scores = {detector: of[set_name] for detector, of in scores.items()}
        for detector in scores:
            of_both = id_scores[detector], ood_scores[detector]
            numbers["ood"][set_name][detector] = _numbers(detector, set_name, defined[detector], *of_both)
        for detector, values in (resampled_ood(id_scores, ood_scores) if scores else {}).items():
            resamples |= {arrays_key(set_name, detector, metric): of_it for metric, of_it in values.items()}
    return numbers, resamples


def metrics_for(detector: Detector) -> dict[str, OODMetric]:
    """-> {name: metric} of OOD_METRICS that are defined for the scores of this detector"""
    function = detector.func if isinstance(detector, partial) else detector
    is_probability = getattr(function, "is_negated_probability", False)
    return {name: metric for name, metric in OOD_METRICS.items() if is_probability or not metric.of_probabilities}


def _numbers(
    detector: str, set_name: str, metrics: Mapping[str, OODMetric], id_scores: Array, ood_scores: Array
) -> dict[str, float]:
    try:
        return {name: metric(id_scores, ood_scores) for name, metric in metrics.items()}
    except ValueError as error:
        raise ValueError(f"detector {detector} on {set_name}: {error}") from error


def intervals(numbers: Mapping[str, Any], resamples: Mapping[str, Array]) -> dict[str, Any]:
    """-> {"accuracy", ...: [low, high], "ood": {set: {detector: {metric: [low, high]}}}}, 95 %, where resampled."""

    def found(metrics: Mapping[str, Metric], values: Mapping[str, float], ood: str = "", detector: str = "") -> Any:
        keys = {name: arrays_key(ood, detector, name) for name in metrics if name in values}
        return {
            name: list(metrics[name].interval(values[name], resamples[key]))
            for name, key in keys.items()
            if key in resamples
        }

    of_sets = {
        ood: {detector: found(OOD_METRICS, values, ood, detector) for detector, values in scores.items()}
        for ood, scores in numbers["ood"].items()
    }
    of_sets = {ood: {d: some for d, some in scores.items() if some} for ood, scores in of_sets.items()}
    return found(ID_METRICS, numbers) | {"ood": of_sets}


def all_scores(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> tuple[dict[str, dict[str, Array]], dict[str, str]]:
    """-> {detector: {"test" or set: (N,) scores}}, {detector: why it has none}

    A detector is asked once, for the images of all sets: what it learns of the training set may take minutes.
    """
    sets = {"test": test, **ood}
    images = concatenate(list(sets.values()))
    ends = np.cumsum([len(each.labels) for each in sets.values()])[:-1]
    scores, not_applicable = {}, {}
    for name, detector in detectors.items():
        try:
            parts = np.split(scores_of(detector, images, reference), ends)
            scores[name] = dict(zip(sets, parts, strict=True))
        except NotApplicable as reason:
            not_applicable[name] = str(reason)
        except ValueError as error:
            raise ValueError(f"detector {name}: {error}") from error
    return scores, not_applicable


def scores_of(detector: Detector, images: Outputs, reference: Reference) -> Array:
    """(N,), one score per image. Raises NotApplicable where all are the same, which no metric can judge."""
    scores = np.asarray(detector(images, reference), dtype=np.float64)
    if scores.shape != images.labels.shape:
        raise ValueError(f"the scores have shape {scores.shape} for {len(images.labels)} images")
    if len(scores) > 1 and (scores == scores[0]).all():
        raise NotApplicable("gives one value for every image")
    return scores
