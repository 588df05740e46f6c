"""The head of a network of other code: as a function of features, as W and b, and whether it gives the logits."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oodbench.losses.objective import Objective
from oodbench.model import head_fn, linear_weights

Apply = Callable[[NDArray[np.floating]], NDArray[np.floating]]
Linear = tuple[NDArray[np.float32], NDArray[np.float32]]
ROWS = 4096  # at a time: of 2,048 features 64 MB in float64
TOLERANCE = 1e-3  # by which a head's own logits may differ from given ones; float16 keeps 5e-4 of a number


def head_parts(head: nn.Module | Linear) -> tuple[Apply, Linear | None]:
    """Return a head as a function of (N, D) features, and as W (K, D), b (K,) if it is linear.

    head: the loss of a run (`Objective`), `nn.Linear`, any other module, or W and b.
    """
    if isinstance(head, Objective):
        apply = head_fn(head)
        if apply is None:
            raise ValueError(f"{type(head).__name__} has no head that could be applied: leave head out")
        return apply, linear_weights(head)
    if not isinstance(head, nn.Module | tuple):
        raise ValueError(f"head is a {type(head).__name__}; a module or a pair (W, b) is needed")
    if isinstance(head, nn.Linear | tuple):
        weight, bias = head if isinstance(head, tuple) else (head.weight, head.bias)
        bias = torch.zeros(len(weight)) if bias is None else bias
        W, b = (torch.as_tensor(part).detach().float().cpu().numpy() for part in (weight, bias))
        return lambda features: features @ W.T + b, (W, b)
    module = head
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))

    @torch.inference_mode()
    def apply_module(features: NDArray[np.floating]) -> NDArray[np.floating]:
        return module(torch.from_numpy(np.asarray(features, np.float32)).to(device)).float().cpu().numpy()

    return apply_module, None


def head_error(head: Apply, features: NDArray[np.floating], logits: NDArray[np.floating]) -> float:
    """(N, D), (N, C) -> max |head(f) - z| / max |z|; infinite for logits of another number"""
    largest, error = np.abs(logits).max(), 0.0
    for start in range(0, len(features), ROWS):
        own, given = head(features[start : start + ROWS]), logits[start : start + ROWS]
        if own.shape != given.shape:
            return np.inf
        error = np.maximum(error, np.abs(own - given).max())  # keeps a NaN
    if not error:
        return 0.0
    return float(error / largest) if largest else np.inf


def head_reproduces(head: Apply, features: NDArray[np.floating], logits: NDArray[np.floating]) -> bool:
    """(N, D), (N, C) -> whether these are the head's own logits, up to rounding"""
    return head_error(head, features, logits) <= TOLERANCE
