"""The numbers of a finished run, computed again from its stored outputs."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oodbench.build import build_detectors
from oodbench.evaluation.evaluate import intervals
from oodbench.losses.objective import Objective
from oodbench.phrases import printable
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config
from oodbench.runs.record import Record, needs_images, requested
from oodbench.scoring.network_scores import behind_scores
from oodbench.scoring.score import RunOutputs, Scoring, record_numbers, score
from oodbench.scoring.stored import stored_run
from oodbench.targets import trusted_detector


def score_stored(
    folder: RunFolder, config: Config, outputs: RunOutputs, objective: Objective, provenance: dict[str, Any]
) -> Record:
    """Score the configured detectors on a folder's stored outputs; the caller holds its lock."""
    numbers, resamples = score(outputs, objective, Scoring(build_detectors(config["detector"]), {}))
    return record_numbers(folder, requested(config), numbers, resamples, provenance)


def score_all(folder: RunFolder, config: Config, outputs: RunOutputs, objective: Objective, before: Record) -> Record:
    """Score all detectors of a record again, image detectors by their stored scores; the caller holds its lock."""
    provenance, nodes = before["provenance"], before["provenance"]["detector"]
    digests = provenance["digests"]

    def read(name: str, of: str) -> Any:
        about = behind_scores(nodes[name], digests["train"], objective)
        return folder.usable_scores(name, of, **about, digest=digests[of])

    scoring, missing = _recorded_scoring(nodes, outputs, read)
    for name in (printable(name) for name in missing if name not in before["not_applicable"]):
        what = f"{name} is not scored again: its stored scores are missing, or of other code"
        warnings.warn(f"{what}; image_detector=[{name}] passes the images through again", stacklevel=2)
    numbers, resamples = score(outputs, objective, scoring)
    asked = {"detector": {name: node for name, node in nodes.items() if name not in missing}, "image_detector": {}}
    return record_numbers(folder, requested(config | asked), numbers, resamples, provenance)


def _recorded_scoring(nodes: Config, outputs: RunOutputs, read: Callable[[str, str], Any]) -> tuple[Scoring, list[str]]:
    """Return the detectors of a record, image detectors by their stored scores, and the names of those without.

    nodes: {detector: its configuration}; read: (image detector, set) -> its stored scores, or None.
    """
    sets = ("test", *outputs.ood, *outputs.validation)
    scores = {name: {each: read(name, each) for each in sets} for name, node in nodes.items() if needs_images(node)}
    missing = [name for name, of_sets in scores.items() if any(each is None for each in of_sets.values())]
    known = {name: of_sets for name, of_sets in scores.items() if name not in missing}
    detectors = {name: trusted_detector(node) for name, node in nodes.items() if name not in scores}
    return Scoring(detectors, known), missing


def recompute(path: Path, record: Record) -> tuple[dict[str, Any], list[str]]:
    """Compute the numbers of a record again, with their intervals, from the outputs in a run's folder; write nothing.

    Scores of image detectors are read; detectors without stored scores are named in the second place. Raises ValueError
    for outputs that are missing, damaged, or of other weights or images, and for a target that is not trusted.
    """
    folder, config = open_run(path)
    provenance = record["provenance"]
    if folder.read_training()["weights"] != record["weights"]:
        raise ValueError(f"{folder.path} has the outputs of other weights")
    outputs, objective = stored_run(folder, config | {"ood": provenance["ood"]}, provenance["digests"])
    scoring, missing = _recorded_scoring(provenance["detector"], outputs, folder.read_scores)
    numbers, resamples = score(outputs, objective, scoring)
    return numbers | {"intervals": intervals(numbers, resamples)}, missing
