"""Outputs and detectors -> the numbers of one run."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from oodbench import metrics
from oodbench.detectors import Array, Reference
from oodbench.outputs import Outputs

Detector = Callable[[Outputs, Reference], Array]


def evaluate(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> dict[str, Any]:
    """-> {"accuracy", "ece", "nll", "brier", "ood": {set: {detector: {metric: value}}}}, plain numbers.

    Units and directions: oodbench.metrics. Raises ValueError naming the detector whose score is not finite.
    """
    correct = test.log_probs.argmax(1) == test.labels
    return {
        "accuracy": metrics.accuracy(test.log_probs, test.labels),
        "ece": metrics.ece(np.exp(test.log_probs.max(1)), correct),
        "nll": metrics.nll(test.log_probs, test.labels),
        "brier": metrics.brier(test.log_probs, test.labels),
        "ood": ood_metrics(test, ood, detectors, reference),
    }


def ood_metrics(
    test: Outputs, ood: Mapping[str, Outputs], detectors: Mapping[str, Detector], reference: Reference
) -> dict[str, dict[str, dict[str, float]]]:
    """-> {set: {detector: {metric: value}}}"""
    table: dict[str, dict[str, dict[str, float]]] = {name: {} for name in ood}
    for detector_name, detector in detectors.items():
        id_scores = detector(test, reference)
        for set_name, outputs in ood.items():
            scores = detector(outputs, reference)
            try:
                values = {name: metric(id_scores, scores) for name, metric in metrics.OOD_METRICS.items()}
            except ValueError as error:
                raise ValueError(f"detector {detector_name} on {set_name}: {error}") from error
            table[set_name][detector_name] = values
    return table


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
    return "\n".join(lines)
