"""Scores of detectors that need images: computed once per set, stored beside the outputs."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from oodbench.data.split import Split
from oodbench.detectors.network.network import ImageDetector, Network, Scorer
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation.evaluate import Detector
from oodbench.losses.objective import Objective
from oodbench.model import Classifier
from oodbench.outputs import Outputs
from oodbench.runs.code import code_digest, detector_code
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config

Scores = Mapping[str, Array] | NotApplicable  # {set: (N,)}, or why there are none


def network_scores(
    folder: RunFolder,
    model: Classifier,
    detectors: Mapping[str, ImageDetector],
    settings: Config,
    splits: Mapping[str, Split],
) -> dict[str, Scores]:
    """Return {image detector: its scores of every set but "train"}, stored ones or computed from the images.

    settings: {image detector: its configuration}; stored scores of other settings, code or images are computed again.
    """
    found: dict[str, Scores] = {}
    for name, detector in detectors.items():
        try:
            found[name] = _scores_of(folder, model, name, detector, settings, splits)
        except NotApplicable as reason:
            found[name] = reason
    return found


def behind_scores(detector: Config, train: str, objective: Objective) -> dict[str, str]:
    """Return what an image detector's stored scores depend on besides weights and images; train: digest of that set."""
    return {
        "train": train,
        "settings": json.dumps(detector, sort_keys=True),
        "code": detector_code({"": detector})[""],
        "loss": code_digest(f"oodbench.losses.{type(objective).__name__}"),
    }


def as_detectors(scores: Mapping[str, Scores], sets: Sequence[str]) -> dict[str, Detector]:
    """Return the scores as detectors of the concatenated images of these sets."""
    return {name: _as_detector(of_sets, sets) for name, of_sets in scores.items()}


def _as_detector(scores: Scores, sets: Sequence[str]) -> Detector:
    def detector(test: Outputs, reference: Reference) -> Array:
        if isinstance(scores, NotApplicable):
            raise scores
        return np.concatenate([scores[name] for name in sets])

    return detector


def _scores_of(
    folder: RunFolder,
    model: Classifier,
    name: str,
    detector: ImageDetector,
    settings: Config,
    splits: Mapping[str, Split],
) -> dict[str, Array]:
    train = splits["train"]
    about = behind_scores(settings[name], train.digest, model.objective)
    scores: dict[str, Array] = {}
    scorer: Scorer | None = None
    for set_name, split in splits.items():
        if split is train:
            continue
        stored = folder.usable_scores(name, set_name, **about, digest=split.digest)
        if stored is None:
            scorer = scorer or detector(Network(model), train)  # learns from the training set only when it must
            stored = scorer(split.images)
            folder.write_scores(name, set_name, stored, **about, digest=split.digest)
        scores[set_name] = stored
    return scores
