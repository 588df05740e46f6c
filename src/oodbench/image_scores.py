"""What image detectors say of every set: computed once, stored beside the outputs, then read as a detector's scores."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from oodbench.arrays import load_arrays, save_arrays
from oodbench.data import Split
from oodbench.detectors import Array, NotApplicable, Reference
from oodbench.evaluate import Detector
from oodbench.image_detectors import ImageDetector, Network, Scorer
from oodbench.model import Classifier
from oodbench.outputs import Outputs
from oodbench.runs import Run

Scores = Mapping[str, Array] | NotApplicable  # {set: (N,)}, or why there are none


def image_scores(
    run: Run, model: Classifier, detectors: Mapping[str, ImageDetector], splits: Mapping[str, Split]
) -> dict[str, Scores]:
    """{image detector: its scores of every set but "train"}: from the run's folder, or from passes over the images."""
    return {name: _scores_of(run, model, name, detector, splits) for name, detector in detectors.items()}


def as_detectors(scores: Mapping[str, Scores], sets: Sequence[str]) -> dict[str, Detector]:
    """Detectors for the images of these sets, one set after the other."""
    return {name: _as_detector(of_sets, sets) for name, of_sets in scores.items()}


def _as_detector(scores: Scores, sets: Sequence[str]) -> Detector:
    def detector(test: Outputs, reference: Reference) -> Array:
        if isinstance(scores, NotApplicable):
            raise scores
        return np.concatenate([scores[name] for name in sets])

    return detector


def _scores_of(run: Run, model: Classifier, name: str, detector: ImageDetector, splits: Mapping[str, Split]) -> Scores:
    train = splits["train"]
    how = json.dumps([run.detectors[name], train.digest], sort_keys=True)
    scores: dict[str, Array] = {}
    scorer: Scorer | None = None
    for set_name, split in splits.items():
        if split is train:
            continue
        path = run.image_scores(name, set_name)
        stored = _stored(path, split, how)
        if stored is None:
            try:
                scorer = scorer or detector(Network(model), train)  # what it learns of the training set, at need only
            except NotApplicable as reason:
                return reason
            stored = scorer(split.images)
            save_arrays(path, {"scores": stored}, source=split.digest, how=how)
        scores[set_name] = stored
    return scores


def _stored(path: Path, split: Split, how: str) -> Array | None:
    """The scores at path; None where there are none, or of other images, or by other hyperparameters."""
    if not path.exists():
        return None
    try:
        arrays, metadata = load_arrays(path)
    except ValueError as error:
        warnings.warn(f"computed again: {error}", stacklevel=2)
        return None
    wanted = {"source": split.digest, "how": how}
    scores = arrays.get("scores")
    return scores if metadata == wanted and scores is not None and len(scores) == len(split.labels) else None
