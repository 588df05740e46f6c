"""Tiny networks, recipes and checkpointers for tests of the training."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from torch import Tensor, nn

from oodbench.losses.ce import CrossEntropy
from oodbench.losses.objective import Objective
from oodbench.model import Classifier
from oodbench.training.checkpoint import Source
from oodbench.training.loop import TrainState, fit
from oodbench.training.means import Row
from oodbench.training.muon import MuonAdam
from oodbench.training.recipe import Recipe, cosine
from oodbench.training.step import PLAIN, Execution

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(50, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(50) % 5
FEATURES, CLASSES = 6, 5
SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
MUON = partial(MuonAdam, lr=0.05, momentum=0.6, newton_schulz_steps=3, adam_lr=0.001, bias_lr=0.02, betas=(0.9, 0.99))
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
LOSSES += [f"loss=circle loss.variant=pairwise_{over}" for over in ("global", "per_anchor")] + [
    "loss=halo loss.variant=notes"
]
SOURCE = Source("abc/seed0", "fp32", "0123456789ab")


class Small(nn.Sequential):
    """A backbone with all that has a state of its own: batch norm's statistics, dropout's generator."""

    num_features = FEATURES

    def __init__(self) -> None:
        layers = nn.Conv2d(3, FEATURES, 3, stride=4), nn.BatchNorm2d(FEATURES), nn.ReLU(), nn.Dropout(0.1)
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(loss: str = "loss=ce", seed: int = 0, backbone: Callable[[], nn.Module] = Small) -> Classifier:
    """Return a network with the loss that the command line describes."""
    torch.manual_seed(seed)
    network = backbone()
    objective = instantiate(composed(*loss.split()).loss, num_features=network.num_features, num_classes=CLASSES)
    model = Classifier(network, objective, [0.5] * 3, [0.25] * 3, torch.float32)
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def classifier_with(objective: Objective) -> Classifier:
    """Return a network with this very objective."""
    torch.manual_seed(0)
    return Classifier(Small(), objective, [0.5] * 3, [0.25] * 3, torch.float32)


class RecordingLoss(CrossEntropy):
    """Cross-entropy that records its labels; `replaced` may give another value, with the true gradient."""

    def __init__(self, replaced: Callable[[int], float | None] = lambda call: None) -> None:
        super().__init__(FEATURES, CLASSES, label_smoothing=0.0)
        self.replaced, self.labels = replaced, list[list[int]]()

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        value, other = super().loss(features, labels), self.replaced(len(self.labels))
        self.labels.append(labels.tolist())
        return value if other is None else value - value.detach() + other


class FixedAnswers(NamedTuple):
    """A checkpointer made of its answers."""

    save: Callable[[TrainState], None] = lambda state: None
    receive_stop: Callable[[], bool] = lambda: False
    due: Callable[[], bool] = lambda: False


def train(
    model: Classifier,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    resume: TrainState | None = None,
    execution: Execution = PLAIN,
    **answers: Any,
) -> list[TrainState]:
    """Train on IMAGES; return the states that the checkpointer was given."""
    saved: list[TrainState] = []
    answers.setdefault("save", lambda state: saved.append(deepcopy(state)))
    fit(model, IMAGES, LABELS, recipe, seed, resume, FixedAnswers(**answers), execution)
    return saved


def without_times(history: list[Row]) -> list[Row]:
    """Return the rows without what the clock measures."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


def same(a: Any, b: Any) -> bool:
    """Tell whether two nested states are equal to the bit, NaN equal to NaN."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(nan=-1e30), b.nan_to_num(nan=-1e30))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))
