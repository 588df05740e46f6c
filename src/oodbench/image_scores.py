"""What image detectors say of every set: computed once, stored beside the outputs, then read as a detector's scores."""

import json
import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from oodbench.data.split import Split
from oodbench.detectors.network.network import ImageDetector, Network, Scorer
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation.evaluate import Detector
from oodbench.model import Classifier
from oodbench.outputs import Outputs
from oodbench.runs.folder import Run
from oodbench.storage import load_arrays, save_arrays

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
    scores: dict[str, Array] = {}
    scorer: Scorer | None = None
    for set_name, split in splits.items():
        if split is train:
            continue
        stored = stored_scores(run, name, set_name, split.digest, train.digest)
        if stored is None:
            try:
                scorer = scorer or detector(Network(model), train)  # what it learns of the training set, at need only
                stored = scorer(split.images)
            except NotApplicable as reason:
                return reason
            about = _about(run, name, split.digest, train.digest)
            save_arrays(run.image_scores(name, set_name), {"scores": stored}, **about)
        scores[set_name] = stored
    return scores


def stored_scores(run: Run, name: str, set_name: str, source: str, train: str) -> Array | None:
    """(N,), what the image detector said of the set; None where it was not asked, or other images, or otherwise set.

    source and train: digests of the set's and the training images. A damaged file is warned of, and None.
    """
    path = run.image_scores(name, set_name)
    if not path.exists():
        return None
    try:
        arrays, metadata = load_arrays(path)
    except ValueError as error:
        warnings.warn(f"computed again: {error}", stacklevel=2)
        return None
    return arrays["scores"] if metadata == _about(run, name, source, train) else None


def _about(run: Run, name: str, source: str, train: str) -> dict[str, str]:
    return {"source": source, "train": train, "how": json.dumps(run.detectors[name], sort_keys=True)}
