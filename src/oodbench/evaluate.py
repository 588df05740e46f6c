"""Outputs and detectors -> the numbers of one run."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oodbench import metrics
from oodbench.detectors import Array, NotApplicable, Reference
from oodbench.outputs import Outputs, joined

Detector = Callable[[Outputs, Reference], Array]


def evaluate(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> dict[str, Any]:
    """-> {"accuracy", "ece", "nll", "brier", "ood": {set: {detector: {metric: value}}}}, plain numbers; and
    "not_applicable": {detector: why it has none}.

    Units and directions: oodbench.metrics. Raises ValueError naming the detector whose score is not finite.
    """
    ood_numbers, not_applicable = ood_metrics(test, ood, detectors, reference)
    correct = test.log_probs.argmax(1) == test.labels
    return {
        "accuracy": metrics.accuracy(test.log_probs, test.labels),
        "ece": metrics.ece(np.exp(test.log_probs.max(1)), correct),
        "nll": metrics.nll(test.log_probs, test.labels),
        "brier": metrics.brier(test.log_probs, test.labels),
        "ood": ood_numbers,
        "not_applicable": not_applicable,
    }


def ood_metrics(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> tuple[dict[str, dict[str, dict[str, float]]], dict[str, str]]:
    """-> {set: {detector: {metric: value}}}, {detector: why it has no numbers}

    A detector is asked once, for the images of all sets: what it learns of the training set may take minutes.
    """
    sets = [test, *ood.values()]
    images = joined(sets)
    ends = np.cumsum([len(each.labels) for each in sets])[:-1]
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in ood}
    not_applicable = {}
    for detector_name, detector in detectors.items():
        try:
            id_scores, *ood_scores = np.split(scores_of(detector, images, reference), ends)
        except NotApplicable as reason:
            not_applicable[detector_name] = str(reason)
            continue
        except ValueError as error:
            raise ValueError(f"detector {detector_name}: {error}") from error
        for set_name, scores in zip(ood, ood_scores, strict=True):
            try:
                values = {name: metric(id_scores, scores) for name, metric in metrics.OOD_METRICS.items()}
            except ValueError as error:
                raise ValueError(f"detector {detector_name} on {set_name}: {error}") from error
            table[set_name][detector_name] = values
    return table, not_applicable


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
