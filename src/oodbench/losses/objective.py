"""The contract of a loss: head, training loss, reading of the logits, strangeness.

Letters: B images, D features, K classes, C >= K logits, the K classes first. Everything here is computed with autocast
off, in float32 at least; float64 stays float64. (A distance from bf16 products is wrong by 33 where it is 516.)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn


def in_full_precision(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with autocast off and its first tensor in float32 at least, whoever calls it and from where."""

    @wraps(method)
    def wrapped(self: "Objective", tensor: Tensor, *rest: Tensor) -> Any:
        with torch.autocast(tensor.device.type, enabled=False):
            return method(self, tensor if tensor.dtype == torch.float64 else tensor.float(), *rest)

    return wrapped


class Objective(nn.Module, ABC):
    """A loss with its head. Its parameters are trained with the network's and saved with them."""

    no_weight_decay: Sequence[str] = ()  # names of own parameters that weight decay must leave alone

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name in ("loss", "logits", "log_probs", "ood_score", "diagnostics", "finalize"):
            if name in vars(cls):
                setattr(cls, name, in_full_precision(vars(cls)[name]))

    @abstractmethod
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """(B, D), (B,) -> scalar, the batch's training loss. What happens only in training lives here."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, C)"""

    @abstractmethod
    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log of the class probabilities; rows need not sum to one. Its argmax is the prediction."""

    @abstractmethod
    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), the loss's own strangeness: higher is more likely out-of-distribution."""

    def linear(self) -> tuple[Tensor, Tensor] | None:
        """W (K, D), b (K,) where the K classes' logits are f W' + b; None where they are something else."""
        return None

    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """(B, D), (B,) -> scalars worth watching while it trains; their means stand in every epoch's line."""
        return {}

    def finalize(self, features: Tensor, labels: Tensor) -> None:
        """(N, D), (N,): called once after training with the training set's features, images not augmented."""


class SoftmaxObjective(Objective):
    """A linear head whose logits are read by a softmax: prediction argmax f, strangeness -max_k log p_k."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_features, num_classes)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def linear(self) -> tuple[Tensor, Tensor]:
        return self.head.weight, self.head.bias

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        return -self.log_probs(logits).amax(1)
