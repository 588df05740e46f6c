"""Losses built from conf/loss, random and hostile features for them, and how two results are compared."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective

B, D, K = 9, 6, 5  # images, features, classes
LOSSES = names("loss")
VARIANTS = [  # a file of conf/loss with other hyperparameters, which have code of their own
    "ce label_smoothing=0.1",
    "halo label_smoothing=0",
    "halo distill=false",
    "halo distill=false label_smoothing=0",
    "halo embedding_dim=2",
    "halo learn_gamma=false",
    "halo variant=notes",
    "halo variant=notes label_smoothing=0",
    "halo variant=notes distill=false",
    "halo variant=notes distill=false label_smoothing=0",
    "halo variant=notes embedding_dim=2",
    "logitnorm tau=1",
    "ghm momentum=0",
    "ghm momentum=0 bins=10",
    "circle gamma=256",
    "circle variant=pairwise_global",
    "circle variant=pairwise_global gamma=256",
    "circle variant=pairwise_per_anchor",
    "focal gamma=0",
    "focal gamma=0.5",
    "focal gamma=1",
]


@cache
def loss_config(name: str) -> DictConfig:
    loss, *hyperparameters = name.split()
    return composed("dataset=digits", f"loss={loss}", *(f"loss.{each}" for each in hyperparameters)).loss


def build_loss(name: str, num_features: int = D, num_classes: int = K, seed: int = 0) -> Any:
    """Return the loss of conf/loss, `name` or "name hyperparameter=value ...", with weights drawn by the seed."""
    torch.default_generator.manual_seed(seed)
    return instantiate(loss_config(name), num_features=num_features, num_classes=num_classes)


def identity_head(objective: Any, dtype: torch.dtype = torch.float64) -> Any:
    """Set the linear layers of a loss to the identity, so that its features are logits or embeddings."""
    for layer in objective.modules():
        if isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
    return objective.to(dtype)


def draw(seed: int = 1, size: int = B, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """-> features (size, D) of normal numbers, labels (size,) below K"""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, D, generator=generator), torch.randint(K, (size,), generator=generator)


def gradients(loss: Tensor, objective: Objective, *leaves: Tensor) -> list[Tensor]:
    """Return the gradients for the leaves and for every parameter that is learned."""
    return list(torch.autograd.grad(loss, [*leaves, *(p for p in objective.parameters() if p.requires_grad)]))


def close(actual: Tensor, expected: Tensor | float | list[float], rtol: float = 1e-9, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=rtol, atol=atol)


def property_test(**arguments: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Run a test on forty examples, the same ones every time."""
    return lambda test: settings(max_examples=40, deadline=None, derandomize=True)(given(**arguments)(test))


seeds = st.integers(0, 10**6)

ORDINARY, LABELS = draw()
HOSTILE: dict[str, tuple[Tensor, Tensor]] = {
    "zero": (torch.zeros(B, D), LABELS),
    "one row zero": (torch.cat([torch.zeros(1, D), ORDINARY[1:]]), LABELS),
    "tiny": (1e-30 * ORDINARY, LABELS),
    "subnormal": (1e-42 * ORDINARY, LABELS),
    "1e4": (1e4 * ORDINARY, LABELS),
    "1e18, whose square is near the largest float32": (1e18 * ORDINARY.clamp(-1, 1), LABELS),
    "1e4 beside zero": (ORDINARY * torch.tensor([0.0, 1e4] * B)[:B, None], LABELS),
    "+-1e4, right": (2e4 * F.one_hot(LABELS, D).float() - 1e4, LABELS),
    "+-1e4, wrong": (2e4 * F.one_hot((LABELS + 1) % K, D).float() - 1e4, LABELS),
    "all equal": (torch.ones(B, D), LABELS),
    "identical images of two classes": (ORDINARY[:1].repeat(B, 1), torch.arange(B) % 2),
    "opposite images of one class": (torch.cat([ORDINARY, -ORDINARY]), torch.zeros(2 * B, dtype=torch.long)),
    "a batch of one": (ORDINARY[:1], LABELS[:1]),
    "a batch of one zero": (torch.zeros(1, D), LABELS[:1]),
    "one class only": (ORDINARY, torch.full((B,), 3)),
    "no positive pair": (ORDINARY[:K], torch.arange(K)),
    "two images, one class": (ORDINARY[:2], torch.zeros(2, dtype=torch.long)),
    "two images, two classes": (ORDINARY[:2], torch.arange(2)),
}
