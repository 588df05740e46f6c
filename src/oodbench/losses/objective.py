"""The interface of a loss: head, training loss, predictive probabilities, OOD score.

Letters: B images, D features, K classes, C >= K logits, the K classes first. Everything here is computed with autocast
off, in float32 at least; float64 stays float64. (A distance from bf16 products is wrong by 33 where it is 516.)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def in_full_precision(method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a method so that autocast is off and its first tensor is float32 or float64."""

    @wraps(method)
    def wrapped(self: "Objective", tensor: Tensor, *rest: Tensor) -> Any:
        with torch.autocast(tensor.device.type, enabled=False):
            return method(self, tensor if tensor.dtype == torch.float64 else tensor.float(), *rest)

    return wrapped


class Objective(nn.Module, ABC):
    """A loss with its head. Its parameters are trained with the network's and saved with them."""

    no_weight_decay: Sequence[str] = ()  # names of its parameters that must not decay
    has_head: bool = True  # False: `logits` raises NotImplementedError, only stored logits are known
    capturable: bool = True  # False: Python decides in `loss`, so no CUDA graph may repeat it

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("loss", "logits", "log_probs", "ood_score", "diagnostics", "finalize"):
            if name in vars(cls):
                setattr(cls, name, in_full_precision(vars(cls)[name]))

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, D), (B,) -> scalar, the training loss of the batch. What only training needs goes here."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, C)"""

    @abstractmethod
    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log class probabilities; a row's need not sum to one. Its argmax is the prediction."""

    @abstractmethod
    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), the OOD score that belongs to the loss: higher = more likely OOD."""

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """-> W (K, D), b (K,) if the logits of the K classes are f W' + b, else None."""
        return None

    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """(B, D), (B,) -> scalars to log during training; train.csv has their means over each epoch."""
        return {}

    def finalize(self, features: Tensor, labels: Tensor) -> None:
        """(N, D), (N,) -> None. Called once after training, with features of the training set without augmentation."""


class SoftmaxObjective(Objective):
    """A linear head with a softmax: log_probs = log softmax(f), OOD score -max_k log p_k."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_features, num_classes)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def linear(self) -> tuple[Tensor, Tensor]:
        return self.head.weight, self.head.bias

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log softmax(f)"""
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), -max_k log p_k"""
        return nll_of_prediction(logits)


def nll_of_prediction(logits: Tensor) -> Tensor:
    """(B, K) -> (B,), -max_k log softmax(f)_k = log(1 + sum of exp(f_j - f_k) over the others)

    In this form images whose p rounds to 1 do not tie; as log softmax four fifths of a T2FNorm's test images are 0.
    """
    ordered = logits.sort(1).values
    return F.softplus(ordered[:, :-1].logsumexp(1) - ordered[:, -1])
