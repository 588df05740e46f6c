"""Outputs and detectors -> the numbers of one run."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation import metrics
from oodbench.evaluation.bootstrap import interval, resampled_id, resampled_ood
from oodbench.evaluation.calibration import calibration
from oodbench.outputs import Outputs, concatenate

Detector = Callable[[Outputs, Reference], Array]


def evaluate(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> tuple[dict[str, Any], dict[str, Array]]:
    """-> the numbers and their bootstrap resamples.

    {"accuracy", "ece", "nll", "brier", "calibration": see `oodbench.evaluation.calibration`,
    "ood": {set: {detector: {metric: value}}}, "not_applicable": {detector: why it has none}}, plain numbers; and
    {"accuracy", ... or "<set>/<detector>/<metric>": (R,) values on resampled images}.

    Units and directions: oodbench.evaluation.metrics. Raises ValueError naming the detector whose score is not finite.
    """
    scores, not_applicable = all_scores(test, ood, detectors, reference)
    correct = test.log_probs.argmax(1) == test.labels
    numbers: dict[str, Any] = {
        "accuracy": metrics.accuracy(test.log_probs, test.labels),
        "ece": metrics.ece(np.exp(test.log_probs.max(1)), correct),
        "nll": metrics.nll(test.log_probs, test.labels),
        "brier": metrics.brier(test.log_probs, test.labels),
        "calibration": calibration(test, seed=0),
        "ood": {name: {} for name in ood},
        "not_applicable": not_applicable,
    }
    resamples = resampled_id(test.log_probs, test.labels)
    for set_name in ood:
        id_scores = {detector: of["test"] for detector, of in scores.items()}
        ood_scores = {detector: of[set_name] for detector, of in scores.items()}
        for detector in scores:
            numbers["ood"][set_name][detector] = _numbers(detector, set_name, id_scores[detector], ood_scores[detector])
        for detector, values in (resampled_ood(id_scores, ood_scores) if scores else {}).items():
            resamples |= {f"{set_name}/{detector}/{metric}": resampled for metric, resampled in values.items()}
    return numbers, resamples


def _numbers(detector: str, set_name: str, id_scores: Array, ood_scores: Array) -> dict[str, float]:
    try:
        return {name: metric(id_scores, ood_scores) for name, metric in metrics.OOD_METRICS.items()}
    except ValueError as error:
        raise ValueError(f"detector {detector} on {set_name}: {error}") from error


def intervals(numbers: Mapping[str, Any], resamples: Mapping[str, Array]) -> dict[str, Any]:
    """-> {"accuracy", ...: [low, high], "ood": {set: {detector: {metric: [low, high]}}}}, 95 %, where resampled."""
    found: dict[str, Any] = {name: list(interval(name, numbers[name], resamples[name])) for name in metrics.ID_METRICS}
    found["ood"] = {
        set_name: {
            detector: {
                metric: list(interval(metric, value, resamples[f"{set_name}/{detector}/{metric}"]))
                for metric, value in values.items()
            }
            for detector, values in scores.items()
            if f"{set_name}/{detector}/auroc" in resamples
        }
        for set_name, scores in numbers["ood"].items()
    }
    return found


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
    """(N,), a score an image. Raises NotApplicable where all are the same, which no metric can judge."""
    scores = np.asarray(detector(images, reference), dtype=np.float64)
    if scores.shape != images.labels.shape:
        raise ValueError(f"the scores have shape {scores.shape} for {len(images.labels)} images")
    if len(scores) > 1 and (scores == scores[0]).all():
        raise NotApplicable("gives one value for every image")
    return scores


def report(numbers: Mapping[str, Any]) -> str:
    """One run's numbers for the terminal: shares in percent, both FPR@95 conventions named."""
    head = "  ".join(f"{name} {100 * numbers[name]:.2f} %" for name in ("accuracy", "ece"))
    lines = [f"{head}  nll {numbers['nll']:.3f} nats  brier {numbers['brier']:.3f}", ""]
    names = list(metrics.OOD_METRICS)
    wide = max(map(len, ["OOD set", *numbers["ood"]]))
    long = max(map(len, ["score", *(detector for scores in numbers["ood"].values() for detector in scores)]))
    lines.append(f"{'OOD set':<{wide}}  {'score':<{long}}" + "".join(f"{name:>14}" for name in names))
    for set_name, scores in numbers["ood"].items():
        for detector, values in scores.items():
            cells = "".join(f"{100 * values[name]:>14.2f}" for name in names)
            lines.append(f"{set_name:<{wide}}  {detector:<{long}}{cells}")
    lines += [f"{detector} has no numbers: {reason}" for detector, reason in numbers["not_applicable"].items()]
    return "\n".join(lines)
