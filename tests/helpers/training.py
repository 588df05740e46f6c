"""Tiny networks and recipes for tests of the training loop."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from torch import nn

from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier
from oodbench.training.loop import TrainState, fit
from oodbench.training.recipe import Recipe, cosine

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(50, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(50) % 5
FEATURES, CLASSES = 6, 5
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
RECIPE = Recipe(
    epochs=4,
    batch_size=16,
    optimizer=SGD,
    schedule=partial(cosine, final=1e-5),
    warmup_epochs=1,
    clip_grad_norm=1.0,
    crop_padding=4,
    crop_fill="black",
    flip=True,
    batch_norm_images=0,
)
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=circle loss.variant=pairwise_global", "loss=halo loss.variant=notes"]


class Small(nn.Sequential):
    """A backbone with all that has a state of its own: batch norm's statistics, dropout's generator."""

    num_features = FEATURES

    def __init__(self) -> None:
        layers = nn.Conv2d(3, FEATURES, 3, stride=4), nn.BatchNorm2d(FEATURES), nn.ReLU(), nn.Dropout(0.1)
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(loss: str = "loss=ce", seed: int = 0, backbone: Callable[[], nn.Module] = Small) -> Classifier:
    torch.manual_seed(seed)
    network = backbone()
    objective = instantiate(composed(*loss.split()).loss, num_features=network.num_features, num_classes=CLASSES)
    model = Classifier(network, objective, [0.5] * 3, [0.25] * 3, torch.float32)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def watched(objective: CrossEntropy) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Small(), objective, [0.5] * 3, [0.25] * 3, torch.float32)


class Told(NamedTuple):
    """A keeper made of its answers."""

    save: Callable[[TrainState], None]
    stop: Callable[[], bool] = lambda: False
    due: Callable[[], bool] = lambda: False


def train(
    model: Classifier, recipe: Recipe = RECIPE, seed: int = 0, resume: TrainState | None = None, **answers: Any
) -> list[TrainState]:
    """What was saved."""
    saved: list[TrainState] = []
    answers.setdefault("save", lambda progress: saved.append(deepcopy(progress)))
    fit(model, IMAGES, LABELS, recipe, seed, resume, Told(**answers))
    return saved


def numbers(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Less what the clock says."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]
