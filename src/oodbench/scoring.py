"""A finished run scored again, from what it stored: no image, no forward pass, no training."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.utils import instantiate

from oodbench.detectors.reference import NotApplicable, Reference
from oodbench.evaluation.evaluate import evaluate
from oodbench.evaluation.search import select
from oodbench.losses.objective import Objective
from oodbench.model import head_fn, linear_weights
from oodbench.outputs import Outputs, load_outputs
from oodbench.runs.folder import Config, Run
from oodbench.runs.lock import run_lock
from oodbench.storage import load_arrays

PREFIX = "objective."  # of the loss's own weights in model.safetensors


def rescore(folder: Path, detector: Config, grids: Config | None = None) -> dict[str, Any]:
    """Add the numbers of `detector`, {name: configuration}, on every set of the run, to its metrics.json; returns all.

    grids: {name: {hyperparameter: values}}; such a detector stands a second time in the numbers, as <name>_selected,
    with the values that are best on the run's held-out images and its validation OOD set.

    Raises FileNotFoundError for a run without stored outputs, ClaimedError while another process has it, ValueError for
    a damaged file, a configuration that is not the folder's, or a target outside this project.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    run = Run(config | {"detector": detector, "image_detector": {}, "results_dir": str(folder.absolute().parents[5])})
    if run.folder != folder.absolute():
        raise ValueError(f"{folder / 'config.yaml'} is the configuration of {run.folder}")
    with run_lock(folder):
        before = run.metrics()
        if before is None:
            raise FileNotFoundError(f"{folder} is not finished: python train.py goes on with it")
        run.config["ood"] = before["provenance"]["ood"]
        if grids:
            run.check_unreported(before["provenance"]["digests"].get("val_ood", "none"))
            run.config["detector"] = run.config["detector"] | selected(run, detector, grids)
        score_stored(run, before["provenance"])
    return run.metrics() or {}


def score_stored(run: Run, provenance: dict[str, Any]) -> None:
    """Write the numbers of the configuration's detectors on its OOD sets, whose outputs lie in the run's folder.

    The folder is the caller's.
    """
    ood = {name: stored(run, name) for name in run.config["ood"]}
    reference = reference_of(run, stored(run, "train"))
    detectors = {name: own(node) for name, node in run.config["detector"].items()}
    numbers, resamples = evaluate(stored(run, "test"), ood, detectors, reference)
    if run.validation:
        known, held_out = reference._replace(validation=None), {"val_ood": stored(run, "val_ood")}
        of_val, _ = evaluate(stored(run, "val"), held_out, detectors, known)
        numbers["validation"] = of_val | {"ood": of_val["ood"]["val_ood"], "of": run.validation}
    run.add_metrics(numbers, provenance, resamples)


def selected(run: Run, detector: Config, grids: Config) -> Config:
    """{<name>_selected: configuration} with the hyperparameters that are best on the images that the run held out and
    on its validation OOD set; without the detectors that do not apply.
    """
    reference, val, val_ood = reference_of(run, stored(run, "train")), stored(run, "val"), stored(run, "val_ood")
    chosen = {}
    for name in sorted(detector.keys() & grids.keys()):
        with suppress(NotApplicable):  # which the detector itself says
            best = select(own(detector[name]), grids[name], reference, val, val_ood).hyperparameters
            chosen[f"{name}_selected"] = detector[name] | best
    return chosen


def stored(run: Run, name: str) -> Outputs:
    """The run's outputs on a set."""
    try:
        outputs = load_outputs(run.outputs(name))
    except ValueError as error:
        again = f"delete {run.folder / 'metrics.json'} and repeat the run's command, it is computed again"
        raise ValueError(f"{error}; {again}") from error
    if outputs is None:
        why = (
            "train with validation.images=5000 to have it" if name in ("val", "val_ood") else "repeat the run's command"
        )
        raise FileNotFoundError(f"{run.outputs(name)} is missing; {why}")
    return outputs


def reference_of(run: Run, train: Outputs) -> Reference:
    """What a detector may know of the run: its training outputs, its head, the images that it held out."""
    objective: Objective = own(
        run.config["loss"], num_features=train.features.shape[1], num_classes=train.log_probs.shape[1]
    )
    weights, _ = load_arrays(run.weights)
    objective.load_state_dict(
        {name.removeprefix(PREFIX): torch.from_numpy(w) for name, w in weights.items() if name.startswith(PREFIX)}
    )
    return Reference(train, head_fn(objective), linear_weights(objective), load_outputs(run.outputs("val")))


def own(node: Mapping[str, Any], **arguments: Any) -> Any:
    """What a stored configuration describes. ValueError for a target outside this project: it may do anything."""
    for target in _targets(node):
        if not target.startswith("oodbench."):
            raise ValueError(f"_target_: {target} is not of oodbench; a stored configuration may name nothing else")
    return instantiate(node, **arguments)


def _targets(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        here = [str(node["_target_"])] if "_target_" in node else []
        return here + [target for value in node.values() for target in _targets(value)]
    return [target for value in node for target in _targets(value)] if isinstance(node, list) else []
