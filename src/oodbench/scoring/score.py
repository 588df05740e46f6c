"""From outputs to the record: detectors, metrics and intervals, merged with the numbers that still hold."""

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from oodbench.detectors.reference import Reference
from oodbench.evaluation.evaluate import Detector, evaluate, intervals
from oodbench.losses.objective import Objective
from oodbench.model import head_fn, linear_weights
from oodbench.outputs import Outputs
from oodbench.phrases import printable
from oodbench.report.card import write_card
from oodbench.runs.code import detector_code, metric_code
from oodbench.runs.folder import RunFolder
from oodbench.runs.merge import merge, merge_intervals, merge_resamples, removed_numbers
from oodbench.runs.record import Record, Request
from oodbench.scoring.network_scores import Scores, as_detectors
from oodbench.storage import Arrays


class RunOutputs(NamedTuple):
    """A network's outputs on every set of its run."""

    train: Outputs
    test: Outputs
    ood: dict[str, Outputs]
    validation: dict[str, Outputs]  # "val", held out of the training set, and "val_ood"; or empty


class Scoring(NamedTuple):
    """The detectors that a run is scored with."""

    detectors: Mapping[str, Detector]  # of stored outputs
    network_scores: Mapping[str, Scores]  # of image detectors, computed before


def score(outputs: RunOutputs, objective: Objective, scoring: Scoring) -> tuple[dict[str, Any], Arrays]:
    """Return the numbers of a run and their resamples, as `evaluate` does; "validation" has those of held-out images.

    The validation numbers choose hyperparameters, so there no detector may see the held-out images beforehand.
    """
    reference = reference_of(outputs, objective)
    network = as_detectors(scoring.network_scores, ["test", *outputs.ood])
    numbers, resamples = evaluate(outputs.test, outputs.ood, dict(scoring.detectors) | network, reference)
    if outputs.validation:
        network = as_detectors(scoring.network_scores, ["val", "val_ood"])
        val, val_ood = outputs.validation["val"], outputs.validation["val_ood"]
        blind = reference._replace(validation=None)
        held_out, _ = evaluate(val, {"val_ood": val_ood}, dict(scoring.detectors) | network, blind, resample=False)
        numbers["validation"] = held_out | {"ood": held_out["ood"]["val_ood"]}
    return numbers, resamples


def reference_of(outputs: RunOutputs, objective: Objective) -> Reference:
    """Return what a detector may use besides the images it scores."""
    head, linear = head_fn(objective), linear_weights(objective)
    return Reference(outputs.train, head, linear, outputs.validation.get("val"))


def record_numbers(
    folder: RunFolder, request: Request, numbers: dict[str, Any], resamples: Arrays, provenance: dict[str, Any]
) -> Record:
    """Write the numbers, merged with those of earlier starts that still hold, and the card; return the numbers."""
    before = folder.usable_record()
    provenance = provenance | {"detector_code": detector_code(request.detectors), "metric_code": metric_code()}
    old_resamples = folder.usable_resamples(before) if before else {}
    merged = merge(before, numbers, provenance, request)
    if before and (removed := removed_numbers(before, merged)):
        of_sets = "; ".join(f"on {name} {', '.join(detectors)}" for name, detectors in removed.items())
        warnings.warn(
            "removed, as images, hyperparameters, code or a set's name have changed: the numbers " + printable(of_sets),
            stacklevel=2,
        )
    resamples = merge_resamples(old_resamples, resamples, merged)
    merged["intervals"] = merge_intervals(before or {}, intervals(merged, resamples), merged)
    folder.remove_card()
    written = folder.write_record(merged, resamples)
    folder.remove_superseded(written)
    write_card(folder.path)
    return written


def check_not_reported(before: Record | None, digest: str | None, folder: RunFolder) -> None:
    """Raise ValueError if this run, in any of its starts, has reported the validation OOD set."""
    for name in before["ood"] if before else ():
        if before and before["provenance"]["digests"].get(name) == digest:
            raise ValueError(
                f"the OOD set {name} is reported in {folder.metrics}: nothing may be chosen on it; take another for "
                "ood@validation.ood, or another seed"
            )
