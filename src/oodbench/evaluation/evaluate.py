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
from oodbench.outputs import Outputs, concatenate, read_only

Detector = Callable[[Outputs, Reference], Array]


def evaluate(
    test: Outputs,
    ood: Mapping[str, Outputs],
    detectors: Mapping[str, Detector],
    reference: Reference,
    resample: bool = True,
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the numbers of a run and their bootstrap resamples; none, if these are not needed.

    numbers: {metric of ID_METRICS: value,
              "calibration": see `oodbench.evaluation.calibration`,
              "ood": {set: {detector: {metric of OOD_METRICS: value}}},
              "not_applicable": {detector: why it has no numbers}}
    resamples: {"accuracy", ... or "<set>/<detector>/<metric>": (R,) values on resampled images}

    The metrics' records have units and directions. Raises ValueError naming the detector whose score is not finite.
    """
    scores, not_applicable = all_scores(test, ood, detectors, reference)
    numbers: dict[str, Any] = {name: metric(test.log_probs, test.labels) for name, metric in ID_METRICS.items()}
    numbers |= {"calibration": calibration(test, seed=0), "ood": {}, "not_applicable": not_applicable}
    resamples = resampled_id(test.log_probs, test.labels) if resample else {}
    metrics = {detector: metrics_for(detectors[detector]) for detector in scores}
    id_scores = {detector: of_sets["test"] for detector, of_sets in scores.items()}
    for name in ood:
        ood_scores = {detector: of_sets[name] for detector, of_sets in scores.items()}
        numbers["ood"][name] = {
            d: _numbers(f"detector {d} on {name}", metrics[d], id_scores[d], ood_scores[d]) for d in scores
        }
        for detector, resampled in (resampled_ood(id_scores, ood_scores) if scores and resample else {}).items():
            resamples |= {arrays_key(name, detector, metric): values for metric, values in resampled.items()}
    return numbers, resamples


def metrics_for(detector: Detector) -> dict[str, OODMetric]:
    """-> {name: metric} of OOD_METRICS that are defined for the scores of this detector"""
    function = detector.func if isinstance(detector, partial) else detector
    is_probability = getattr(function, "is_negated_probability", False)
    return {name: metric for name, metric in OOD_METRICS.items() if is_probability or not metric.of_probabilities}


def _numbers(what: str, metrics: Mapping[str, OODMetric], id_scores: Array, ood_scores: Array) -> dict[str, float]:
    try:
        return {name: metric(id_scores, ood_scores) for name, metric in metrics.items()}
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from error


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

    A detector is asked once, for the images of all sets: what it learns of the training set may take minutes. Raises
    ValueError for an OOD set of the name that the ID images have here.
    """
    if "test" in ood:
        raise ValueError("an OOD set cannot be called test: the ID images are")
    sets = {"test": test, **ood}
    images, reference = read_only(concatenate(list(sets.values()))), _read_only_reference(reference)
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


def _read_only_reference(reference: Reference | None) -> Any:
    """Return the same, of arrays that a detector which works in place cannot change for those after it."""
    if reference is None:  # of detectors that read nothing but the images
        return reference
    train, head, linear, validation = reference
    return type(reference)(train and read_only(train), head, linear, validation and read_only(validation))


def scores_of(detector: Detector, images: Outputs, reference: Reference) -> Array:
    """(N,), one score per image. Raises NotApplicable where all are the same, which no metric can judge."""
    scores = np.asarray(detector(images, reference), dtype=np.float64)
    if scores.shape != images.labels.shape:
        raise ValueError(f"the scores have shape {scores.shape} for {len(images.labels)} images")
    if len(scores) > 1 and (scores == scores[0]).all():
        raise NotApplicable("gives one value for every image")
    return scores
