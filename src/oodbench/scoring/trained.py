"""A trained network on the sets of its run: outputs, the scores that need images, and the record made of them."""

from collections.abc import Mapping
from typing import NamedTuple

from oodbench.data.sets import DataSplits
from oodbench.data.split import Split
from oodbench.detectors.network.network import ImageDetector
from oodbench.evaluation.evaluate import Detector
from oodbench.model import Classifier, extract_features, predict, reproduces
from oodbench.outputs import Outputs
from oodbench.runs.code import Code
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import Record, requested
from oodbench.scoring.network_scores import Scores, network_scores
from oodbench.scoring.reuse import (
    check_network,
    code_behind_outputs,
    remove_outdated_record,
)
from oodbench.scoring.score import RunOutputs, Scoring, record_numbers, score


class Trained(NamedTuple):
    """A run whose network has its final weights."""

    config: Config  # resolved
    folder: RunFolder
    model: Classifier
    data: DataSplits


class Predicted(NamedTuple):
    """Outputs, scores and their code: all for which a run needs the device."""

    outputs: dict[str, Outputs]  # by set
    scores: dict[str, Scores]  # of detectors that need images
    code: Code  # of the network and the loss that the outputs are of


def predict_sets(run: Trained, image_detectors: dict[str, ImageDetector]) -> Predicted:
    """Take the outputs on every set, stored ones or those of one forward pass, and score with detectors that need
    images.

    Of a network whose code was edited: ValueError. A record of outputs that the loss no longer gives is removed, with a
    warning.
    """
    folder, splits = run.folder, run.data.by_name
    stored = _usable_outputs(run)
    outputs = {name: found or _predict(run, name, splits[name]) for name, found in stored.items()}
    settings = requested(run.config).detectors
    scores = network_scores(folder, run.model, image_detectors, settings, splits)
    before = folder.usable_record()
    if before and None not in stored.values():
        return Predicted(outputs, scores, before["provenance"].get("code", {}))
    return Predicted(outputs, scores, code_behind_outputs(folder, run.config, before))


def _usable_outputs(run: Trained) -> dict[str, Outputs | None]:
    """Return {set: its stored outputs, where network and loss still give them}."""
    folder, splits = run.folder, run.data.by_name
    stored = {name: folder.usable_outputs(name, split.digest) for name, split in splits.items()}
    check_network(folder, run.config, run.model, splits, stored)
    for name, found in stored.items():
        if found and not reproduces(run.model.objective, found):
            remove_outdated_record(folder, name)
            stored[name] = None
    return stored


def measure(run: Trained, predicted: Predicted, detectors: Mapping[str, Detector]) -> Record:
    """Score the outputs on every set with every detector, and write the record."""
    data, folder, outputs = run.data, run.folder, predicted.outputs
    of_run = RunOutputs(
        train=outputs["train"],
        test=outputs["test"],
        ood={name: outputs[name] for name in data.ood},
        validation={name: outputs[name] for name in data.validation},
    )
    numbers, resamples = score(of_run, run.model.objective, Scoring(detectors, predicted.scores))
    digests = {name: split.digest for name, split in data.by_name.items()}
    provenance = folder.read_training() | {"images": data.sizes, "digests": digests, "code": predicted.code}
    return record_numbers(folder, requested(run.config), numbers, resamples, provenance)


def _predict(run: Trained, name: str, split: Split) -> Outputs:
    """Return the network's outputs on a set, which are stored then."""
    outputs = predict(run.model.objective, extract_features(run.model, split.images), split.labels)
    run.folder.write_outputs(name, outputs, split.digest)
    return outputs
