"""The optimizer over a model's parameters, and its learning rate."""

from typing import Any

import torch
from torch import Tensor

from oodbench.model import Classifier
from oodbench.training.muon import MuonAdam
from oodbench.training.recipe import Recipe

FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # can update all parameters in one kernel


def build_optimizer(model: Classifier, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer over the model's parameters, each group with its initial learning rate."""
    optimizer, device = recipe.optimizer(parameter_groups(model)), model.mean.device
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        if isinstance(optimizer, FUSED) and device.type in ("cpu", "cuda") and group["fused"] is None:
            group["fused"] = True  # one kernel for all parameters, unless the recipe decides; equal up to rounding
    return optimizer


def parameter_groups(model: Classifier) -> list[dict[str, Any]]:
    """Return all trainable parameters; those that the objective exempts from weight decay are a second group."""
    spared = {id(model.objective.get_parameter(name)) for name in model.objective.no_weight_decay}
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) not in spared]},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to `factor` times its initial one."""
    for group in optimizer.param_groups:
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # a CUDA graph reads it from this place
        else:
            group["lr"] = rate


def make_capturable(optimizer: torch.optim.Optimizer, device: torch.device) -> bool:
    """Move the learning rates to the device, where a CUDA graph reads them; fused updates count their steps there.

    Returns False, and does nothing, where the optimizer's step takes numbers from Python.
    """
    groups = optimizer.param_groups
    if not isinstance(optimizer, MuonAdam) and not (isinstance(optimizer, FUSED) and all(g["fused"] for g in groups)):
        return False
    for group in groups:
        group["lr"] = torch.tensor(group["lr"], device=device)
        if "capturable" in group:
            group["capturable"] = True
    return True


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimizer's state for a checkpoint, with learning rates as numbers."""
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = float(group["lr"])
    return state
