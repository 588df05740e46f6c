"""The training loop: `fit` and its parts."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from oodbench.backbones.staged import Prepared
from oodbench.data.split import spaced_rows
from oodbench.model import Classifier, normalise
from oodbench.training.batches import TrainingSet
from oodbench.training.distributed import world_size
from oodbench.training.means import Row, RunningMeans, check_weights
from oodbench.training.optimizer import build_optimizer, state_of
from oodbench.training.progress import ImageProgress
from oodbench.training.recipe import Recipe
from oodbench.training.step import PLAIN, Execution, Steps

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
    execution: Execution = PLAIN,
) -> list[Row]:
    """Train in place on (N, 32, 32, 3) images and (N,) labels; return the rows of the finished epochs.

    After every step the checkpointer is asked whether to save or stop; it is given the state then and after every
    epoch. `resume` is a state that it was given before a restart. Random numbers of a step depend on the seed, the
    epoch and the step alone, so a resumed training equals an uninterrupted one. Several processes (distributed.py)
    share every batch and keep the same weights. A row has the epoch's means of loss, accuracy and diagnostics. Raises
    FloatingPointError when the loss or a weight is not finite; the checkpointer is not given that state.
    """
    data = TrainingSet(images, labels, recipe, seed, model.mean.device)
    check_last_batch(model, data)
    if resume is None:
        prepare(model, images)
    optimizer = build_optimizer(model, recipe)
    history, first, earlier = restore(resume, model, optimizer)
    means = RunningMeans(history, data.steps, data.device, watch=data.device.type == "cpu")
    take = Steps(model, optimizer, data, means, execution)
    progress = ImageProgress(recipe.epochs * data.size, len(history) * data.size + earlier.get("images", 0))

    def save(step: int, sums: dict[str, Any]) -> None:
        check_weights(model, means.epoch)
        checkpointer.save(TrainState(model.state_dict(), state_of(optimizer), history, step, sums))

    with progress.bar:
        for epoch in range(len(history), recipe.epochs):
            means.begin(epoch, first, earlier)
            model.train()
            for step in data.epoch(epoch, first):
                size = take(epoch, step)
                progress.add(size, f"epoch {epoch + 1}/{recipe.epochs}{means.so_far()}")
                stopping = checkpointer.receive_stop()
                if step + 1 < data.steps and (stopping or checkpointer.due()):
                    means.check()
                    save(step + 1, means.state())
                    if stopping:
                        return history
            history.append(means.row() | {"lr": float(optimizer.param_groups[0]["lr"])})
            first, earlier = 0, {}
            save(first, earlier)
            if stopping:
                return history
    return history


def check_last_batch(model: Classifier, data: TrainingSet) -> None:
    """Raise ValueError where the last batch has one image and batch norm of 1x1 maps cannot train on it.

    Found in the first epoch's last step, it would cost that epoch in every start.
    """
    if data.size % data.recipe.batch_size != 1 or world_size() > 1:
        return
    image, _ = data.batch(torch.zeros(1, dtype=torch.long, device=data.device))
    try:
        with torch.random.fork_rng(), torch.no_grad():
            deepcopy(model).train().features(image)
    except ValueError as error:
        raise ValueError(
            f"the last batch of {data.size} images in batches of {data.recipe.batch_size} is one image, on which this "
            f"network cannot train ({error}): choose another recipe.batch_size"
        ) from error


def prepare(model: Classifier, images: NDArray[np.uint8]) -> None:
    """Give a backbone that has `prepare` PREPARING evenly spaced training images before the first step."""
    if isinstance(model.backbone, Prepared):
        rows = spaced_rows(len(images), PREPARING)
        chosen = torch.from_numpy(np.ascontiguousarray(images[rows])).to(model.mean.device).permute(0, 3, 1, 2)
        model.backbone.prepare(normalise(chosen, model.mean, model.std))


def restore(
    resume: TrainState | None, model: Classifier, optimizer: torch.optim.Optimizer
) -> tuple[list[Row], int, dict[str, Any]]:
    """Load a state into model and optimizer; return its history, the steps taken in the next epoch and their sums."""
    if resume is None:
        return [], 0, {}
    model.load_state_dict(resume.model)
    optimizer.load_state_dict(resume.optimizer)
    return resume.history, resume.step, resume.means
