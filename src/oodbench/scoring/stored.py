"""A finished run from its files: stored outputs, the trained loss, the trained network."""

from collections.abc import Mapping

import torch

from oodbench.losses.objective import Objective
from oodbench.model import Classifier, load_head, load_weights, reproduces
from oodbench.outputs import Outputs
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import requested
from oodbench.scoring.reuse import OUTDATED
from oodbench.scoring.score import RunOutputs
from oodbench.targets import trusted
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
