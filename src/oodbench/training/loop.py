"""The training loop: `fit` and its parts."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from oodbench.backbones.staged import Prepared
from oodbench.data.split import spaced_rows
from oodbench.model import Classifier, compilation, normalise
from oodbench.training.batches import batches, derive_seed, sample_augmentation, to_device_padded
from oodbench.training.distributed import gather, rank, shard, sum_gradients
from oodbench.training.means import Row, RunningMeans, check_weights
from oodbench.training.optimizer import build_optimizer, set_learning_rate
from oodbench.training.progress import progress_bar, show_speed
from oodbench.training.recipe import Recipe, learning_rate_factor
from oodbench.training.slowdown import Slowdown

PREPARING = 5000  # images


@dataclass
class TrainState:
    """State of a training after any of its steps: all that a checkpoint holds besides its source."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[Row]  # a row for each finished epoch
    step: int  # steps taken in the next epoch
    means: dict[str, Any]  # running sums of those steps


class Checkpointer(Protocol):
    """Saves the state of a training and decides when it stops."""

    def due(self) -> bool:
        """Tell whether to save now, amid an epoch."""

    def receive_stop(self) -> bool:
        """Receive the signal to stop, if there is one; True: save now and stop."""

    def save(self, state: TrainState) -> None:
        """Save the state at once: its tensors change with the next step."""


def fit(
    model: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    resume: TrainState | None,
    checkpointer: Checkpointer,
) -> list[Row]:
    """Train in place on (N, 32, 32, 3) images and (N,) labels; return the rows of the finished epochs.

    After every step the checkpointer is asked whether to save or stop; it is given the state then and after every
    epoch. `resume` is a state that it was given before a restart. Random numbers of a step depend on the seed, the
    epoch and the step alone, so a resumed training equals an uninterrupted one. Several processes (distributed.py)
    share every batch and keep the same weights. A row has the epoch's means of loss, accuracy and diagnostics. Raises
    FloatingPointError when the loss or a weight is not finite; the checkpointer is not given that state.
    """
    data = TrainingSet(images, labels, recipe, seed, model.mean.device)
    if resume is None:
        prepare(model, images)
    optimizer = build_optimizer(model, recipe)
    history, first, earlier = restore(resume, model, optimizer)
    slowdown = Slowdown()

    def save(step: int, means: dict[str, Any]) -> None:
        check_weights(model, len(history) - (step == 0))  # with step 0, the epoch whose row was just added
        checkpointer.save(TrainState(model.state_dict(), optimizer.state_dict(), history, step, means))

    with progress_bar(recipe.epochs * data.size, len(history) * data.size + earlier.get("images", 0)) as bar:
        for epoch in range(len(history), recipe.epochs):
            means = RunningMeans(epoch, first, history, earlier, watch=data.device.type == "cpu")
            model.train()
            for step, x, y in data.epoch(epoch, first):
                set_learning_rate(optimizer, learning_rate_factor(epoch * data.steps + step, data.steps, recipe))
                with compilation(model, "training"):
                    means.add(train_step(model, optimizer, x, y, recipe.clip_grad_norm), len(y))
                bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}{means.so_far()}", refresh=False)
                bar.update(len(y))
                if speed := slowdown.add(len(y), time.perf_counter()):
                    show_speed((recipe.epochs - epoch) * data.size - means.images, speed)
                stopping = checkpointer.receive_stop()
                if step + 1 < data.steps and (stopping or checkpointer.due()):
                    means.check()
                    save(step + 1, means.state())
                    if stopping:
                        return history
            history.append(means.row() | {"lr": optimizer.param_groups[0]["lr"]})
            first, earlier = 0, {}
            save(first, earlier)
            if stopping:
                break
    return history


def prepare(model: Classifier, images: NDArray[np.uint8]) -> None:
    """Give a backbone that has `prepare` PREPARING evenly spaced training images before the first step."""
    if isinstance(model.backbone, Prepared):
        rows = spaced_rows(len(images), PREPARING)
        chosen = torch.from_numpy(np.ascontiguousarray(images[rows])).to(model.mean.device).permute(0, 3, 1, 2)
        model.backbone.prepare(normalise(chosen, model.mean, model.std))


class TrainingSet:
    """Images and labels on the device, and the batches of an epoch."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, seed: int, device: torch.device
    ) -> None:
        self.device, self.recipe, self.seed, self.size, self.side = device, recipe, seed, len(labels), images.shape[1]
        self.padded = to_device_padded(images, recipe.crop_padding, device, recipe.crop_fill)
        self.labels = torch.from_numpy(np.array(labels)).to(device)
        self.steps = math.ceil(self.size / recipe.batch_size)

    def epoch(self, epoch: int, first: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield step, (B, 3, 32, 32) images and (B,) labels from step `first` on.

        Before each step torch's generators are seeded, for dropout and the like, differently in every process. Seeds of
        steps begin at 1, since 0 would be the seed of sample_augmentation.
        """
        recipe = self.recipe
        choices = sample_augmentation(self.seed, epoch, self.size, recipe.crop_padding, recipe.flip)
        of_epoch = batches(self.padded, self.labels, choices, recipe.batch_size, first, self.side)
        for step, (x, y) in enumerate(of_epoch, start=first):
            torch.manual_seed(derive_seed(self.seed, epoch, step + 1) + rank())
            yield step, x, y


def restore(
    resume: TrainState | None, model: Classifier, optimizer: torch.optim.Optimizer
) -> tuple[list[Row], int, dict[str, Any]]:
    """Load a state into model and optimizer; return its history, the steps taken in the next epoch and their sums."""
    if resume is None:
        return [], 0, {}
    model.load_state_dict(resume.model)
    optimizer.load_state_dict(resume.optimizer)
    return resume.history, resume.step, resume.means


def train_step(
    model: Classifier, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, clip_grad_norm: float | None
) -> dict[str, Tensor]:
    """Take one step on (B, 3, 32, 32) uint8 images; return scalars on the device, without waiting for them."""
    optimizer.zero_grad(set_to_none=True)
    features = gather(model.features(images[shard(len(images))]), len(images))
    loss = model.objective.loss(features, labels)
    loss.backward()
    sum_gradients(model.backbone, model.objective)
    if clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_grad_norm)
    features = features.detach()
    with torch.no_grad():
        log_probs = model.objective.log_probs(model.objective.logits(features))
        correct = (log_probs.argmax(1) == labels).float() + 0 * log_probs[:, 0]  # NaN before it can classify
    values = {"loss": loss.detach(), "accuracy": correct.mean(), **model.objective.diagnostics(features, labels)}
    optimizer.step()
    return values
