"""Finished runs scored again: what is stored is read, and then scored as in every run."""

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from oodbench.build import build_detectors, open_data
from oodbench.detectors.reference import NotApplicable
from oodbench.evaluation.search import select
from oodbench.losses.objective import Objective
from oodbench.runs.code import remember_code
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config
from oodbench.runs.lock import run_lock
from oodbench.runs.record import SELECTED, Record
from oodbench.scoring.recompute import score_all, score_stored
from oodbench.scoring.score import RunOutputs, check_not_reported, reference_of
from oodbench.scoring.stored import stored_model, stored_run
from oodbench.scoring.trained import Trained, measure, predict_sets
from oodbench.targets import trusted
from oodbench.training.device import pick_device


def rescore(path: Path, detector: Config | None, image_detector: Config, grids: Config | None = None) -> Record:
    """Score a finished run again: from its stored outputs, and for image detectors by passes over the images.

    detector, image_detector: {name: configuration}; None: all that its record has, image detectors by their stored
    scores. grids: {name: {hyperparameter: values}}; such a detector has a second entry among the numbers,
    <name>_selected, with the values that are best on the run's held-out images and validation OOD set.

    Raises ValueError for a run that is not finished, a damaged file or a target that is not trusted; LockedError while
    another process works on the run.
    """
    folder, config = open_run(path)
    remember_code(config | {"detector": detector or {}, "image_detector": image_detector})
    with run_lock(folder.path):
        folder.remove_stale()
        before = folder.usable_record()
        if before is None:
            raise ValueError(f"{folder.path} is not finished: repeat its command")
        reported = config | {"ood": before["provenance"]["ood"]}  # sets of every start, not of the last alone
        outputs, objective = stored_run(folder, reported, before["provenance"]["digests"])
        if detector is None:
            return score_all(folder, reported, outputs, objective, before)
        if grids:
            check_not_reported(before, before["provenance"]["digests"].get("val_ood", "none"), folder)
            detector = detector | selected(outputs, objective, detector, grids)
        if not image_detector:
            reported |= {"detector": detector, "image_detector": {}}
            return score_stored(folder, reported, outputs, objective, before["provenance"])
        there = {name: node for name, node in config["ood"].items() if not is_gone(node)}
        chosen = {"ood": there, "detector": detector, "image_detector": image_detector}
        run = reopen(folder, config | chosen, objective)
        folder.check_train_digest(run.data.train.digest)
        predicted = predict_sets(run, build_detectors(image_detector))
        return measure(run, predicted, build_detectors(detector))


def is_gone(node: Any) -> bool:
    """Tell whether the images of an earlier start's OOD set are not where they were."""
    return isinstance(node, dict) and isinstance(node.get("path"), str) and not Path(node["path"]).exists()


def reopen(folder: RunFolder, config: Config, objective: Objective) -> Trained:
    """Return the finished run as it was trained, network and images included."""
    model = stored_model(folder, config, objective, pick_device("auto"))
    return Trained(config, folder, model, open_data(config, partial(trusted, package="data")))


def selected(outputs: RunOutputs, objective: Objective, detector: Config, grids: Config) -> Config:
    """Return {<name>_selected: configuration} with the hyperparameters that are best on the held-out images.

    Detectors that do not apply are left out: they say so themselves. Raises ValueError where no images are held out.
    """
    if not outputs.validation:
        raise ValueError("nothing to choose by: the run holds no images out; train with validation.images")
    reference, chosen = reference_of(outputs, objective)._replace(validation=None), {}  # which judges, and must not fit
    val, val_ood = outputs.validation["val"], outputs.validation["val_ood"]
    for name, function in build_detectors({name: detector[name] for name in sorted(detector.keys() & grids)}).items():
        with suppress(NotApplicable):
            best = select(function, grids[name], reference, val, val_ood)
            chosen[name + SELECTED] = detector[name] | best.hyperparameters
    return chosen
