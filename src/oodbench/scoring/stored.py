"""A finished run from its files: stored outputs, the trained loss, the trained network; and its numbers from these."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from oodbench.build import build_detectors
from oodbench.evaluation.evaluate import intervals
from oodbench.losses.objective import Objective
from oodbench.model import Classifier, load_head, load_weights, reproduces
from oodbench.outputs import Outputs
from oodbench.phrases import printable
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config
from oodbench.runs.record import Record, needs_images, requested
from oodbench.scoring.network_scores import behind_scores
from oodbench.scoring.reuse import OUTDATED
from oodbench.scoring.score import RunOutputs, Scoring, record_numbers, score
from oodbench.targets import trusted, trusted_detector
from oodbench.training.device import pick_precision, use_precision

IS_PUBLISHED = (
    "is missing, as in every run that is published without weights and outputs; score the run where it was trained, or "
    "train it again by its command with another results_dir"
)


def stored_run(folder: RunFolder, config: Config, digests: Mapping[str, str]) -> tuple[RunOutputs, Objective]:
    """Read the outputs of a finished run and its trained loss.

    digests: {set: of its images}, as the record has them. Raises ValueError naming a file that `stored_on` refuses, or
    that the loss does not give.
    """
    objective = stored_objective(folder, config)

    def read(name: str) -> Outputs:
        outputs = stored_on(folder, name, digests)
        if not reproduces(objective, outputs):
            file = folder.outputs(name)
            raise ValueError(f"{file} {OUTDATED}; delete it and {folder.metrics}, and repeat the run's command")
        return outputs

    held_out = ("val", "val_ood") if requested(config).validation else ()
    ood, validation = ({name: read(name) for name in names} for names in (config["ood"], held_out))
    return RunOutputs(train=read("train"), test=read("test"), ood=ood, validation=validation), objective


def stored_on(folder: RunFolder, name: str, digests: Mapping[str, str]) -> Outputs:
    """Read the outputs on one set. Raises ValueError where they are missing, damaged, or of images with other digests.

    A start that was killed before its record was written may have left outputs on other images.
    """
    way_out = f"delete {folder.metrics} and repeat the run's command"
    try:
        outputs = folder.read_outputs(name, digests.get(name))
    except ValueError as error:
        raise ValueError(f"{error}; {way_out}") from error
    if outputs is None and folder.outputs(name).exists():
        raise ValueError(f"{folder.outputs(name)} is of other images than {folder.metrics}; {way_out}")
    if outputs is None:
        raise ValueError(
            f"{folder.outputs(name)} " + (f"is missing; {way_out}" if folder.weights.exists() else IS_PUBLISHED)
        )
    return outputs


@torch.inference_mode(False)
def stored_objective(folder: RunFolder, config: Config) -> Objective:
    """Build the run's objective with its trained weights."""
    if not (folder.weights.exists() or folder.outputs("train").exists()):
        raise ValueError(f"{folder.weights} {IS_PUBLISHED}")
    try:
        weights = folder.read_weights()
    except ValueError as error:
        way_out = "; repeat the run's command"
        raise ValueError(str(error).removesuffix(way_out) + way_out) from error
    outputs = stored_on(folder, "train", {})
    sizes = {"num_features": outputs.features.shape[1], "num_classes": outputs.log_probs.shape[1]}
    objective: Objective = trusted(config["loss"], "losses", **sizes)
    load_head(objective, weights)
    return objective


@torch.inference_mode(False)  # a notebook may load it in inference mode and need gradients later
def stored_model(folder: RunFolder, config: Config, objective: Objective, device: torch.device) -> Classifier:
    """Build the run's network with its trained weights, around its objective."""
    data = config["dataset"]
    backbone = trusted(config["backbone"], "backbones")
    precision = use_precision(pick_precision(folder.read_training()["precision"], device))
    model = Classifier(backbone, objective, data["mean"], data["std"], precision)
    load_weights(model, folder.read_weights())
    return model.to(device).to(memory_format=torch.channels_last)


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
