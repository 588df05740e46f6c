"""A trained network on the sets of its run: outputs, the scores that need images, and the record made of them."""

from typing import NamedTuple

from oodbench.data.sets import DataSplits
from oodbench.data.split import Split
from oodbench.detectors.network.network import ImageDetector
from oodbench.model import Classifier, extract_features, gives, predict
from oodbench.outputs import Outputs
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import Record, requested
from oodbench.scoring.network_scores import Scores, network_scores
from oodbench.scoring.reuse import check_network, read_whole_outputs, remove_outdated_record
from oodbench.scoring.score import RunOutputs, Scoring, record, score


class Trained(NamedTuple):
    """A run whose network has its final weights."""

    config: Config  # resolved
    folder: RunFolder
    model: Classifier
    data: DataSplits


def predict_sets(
    run: Trained, image_detectors: dict[str, ImageDetector]
) -> tuple[dict[str, Outputs], dict[str, Scores]]:
    """Return the outputs on every set, and the scores of detectors that need images: what the device is needed for."""
    splits = run.data.by_name
    check_network(run.folder, run.config, run.model, splits)
    outputs = {name: _outputs_on(run, name, split) for name, split in splits.items()}
    settings = requested(run.config).detectors
    return outputs, network_scores(run.folder, run.model, image_detectors, settings, splits)


def measure(run: Trained, outputs: dict[str, Outputs], scoring: Scoring) -> Record:
    """Score the outputs on every set with every detector, and write the record."""
    data, folder = run.data, run.folder
    of_run = RunOutputs(
        train=outputs["train"],
        test=outputs["test"],
        ood={name: outputs[name] for name in data.ood},
        validation={name: outputs[name] for name in data.validation},
    )
    numbers, resamples = score(of_run, run.model.objective, scoring)
    digests = {name: split.digest for name, split in data.by_name.items()}
    provenance = folder.read_training() | {"images": data.sizes, "digests": digests}
    return record(folder, requested(run.config), numbers, resamples, provenance)


def _outputs_on(run: Trained, name: str, split: Split) -> Outputs:
    """-> the network's outputs on a set: stored ones, or those of one forward pass, which are then stored"""
    folder, objective = run.folder, run.model.objective
    outputs = read_whole_outputs(folder, name, split.digest)
    if outputs is not None and not gives(objective, outputs):
        remove_outdated_record(folder, name)
        outputs = None
    if outputs is None:
        outputs = predict(objective, extract_features(run.model, split.images), split.labels)
        folder.write_outputs(name, outputs, split.digest)
    return outputs
