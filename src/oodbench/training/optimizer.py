"""The optimizer over a model's parameters, and its learning rate."""

from typing import Any

import torch

from oodbench.model import Classifier
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
        group["lr"] = group["initial_lr"] * factor
