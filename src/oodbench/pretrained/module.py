"""Networks of other code: the outputs of any `torch.nn.Module` on a data loader."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oodbench.data.split import UNKNOWN
from oodbench.pretrained.head import head_parts, head_reproduces


def last_linear(model: nn.Module) -> nn.Linear:
    """Return the last `nn.Linear` of a network. Raises ValueError where it has none."""
    found = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not found:
        raise ValueError("the network has no nn.Linear: name the module whose inputs are the features, head=...")
    return found[-1]


@torch.inference_mode()
def run_module(model: nn.Module, loader: Iterable[Any], head: nn.Module) -> dict[str, NDArray[Any]]:
    """Return the logits, (N, C), the features that enter the head, (N, D), and the labels, (N,), in evaluation mode.

    loader: batches of (images, labels), or of images alone, whose labels are then UNKNOWN. Raises ValueError where the
    network's outputs are not those of the head, or the features of an image are not one vector.
    """
    entered: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    training = [module for module in model.modules() if module.training]
    model.eval()
    found: dict[str, list[NDArray[Any]]] = {"logits": [], "features": [], "labels": []}
    try:
        for batch in loader:
            images, labels = (*batch, None)[:2] if isinstance(batch, tuple | list) else (batch, None)
            entered.clear()
            logits = model(images.to(device))
            found["features"].append(_features(entered, len(logits)))
            found["logits"].append(logits.float().cpu().numpy())
            found["labels"].append(np.full(len(logits), UNKNOWN) if labels is None else np.asarray(labels))
    finally:
        hook.remove()
        for module in training:  # one by one: a frozen batch norm stays as it was
            module.training = True
    if not found["logits"]:
        raise ValueError("the data loader has no batch")
    arrays = {name: np.concatenate(batches) for name, batches in found.items()}
    if not head_reproduces(head_parts(head)[0], arrays["features"], arrays["logits"]):
        raise ValueError(f"the network's outputs are not those of its {type(head).__name__}: name the module, head=...")
    return arrays


def _features(entered: list[Tensor], n: int) -> NDArray[np.float32]:
    """-> (N, D). Raises ValueError unless the head was called once, with one vector per image."""
    if len(entered) != 1 or entered[0].ndim != 2 or len(entered[0]) != n:
        shapes = [tuple(each.shape) for each in entered]
        raise ValueError(
            f"the head was given {shapes or 'nothing'} for {n} images, not a vector each: name another, head=..."
        )
    return entered[0].float().cpu().numpy()
