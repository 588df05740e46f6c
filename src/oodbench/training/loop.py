"""The training loop, a function."""

import math
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from oodbench.model import Classifier
from oodbench.training.batches import batches, derive_seed, sample_augmentation, to_device_padded
from oodbench.training.distributed import gather, rank, shard, sum_gradients
from oodbench.training.recipe import Recipe, learning_rate_factor

ADVICE = "try recipe.warmup_epochs=1 recipe.clip_grad_norm=1.0 or a lower recipe.optimizer.lr"
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # have one kernel for all of an update
Row = dict[str, float]  # what is known of one epoch: a line of train.csv


@dataclass
class TrainState:
    """Where a training stands: all that a checkpoint holds besides what it is a checkpoint of."""

    model: dict[str, Any]
    optimizer: dict[str, Any]
    history: list[Row]  # one an epoch that is done
    step: int  # of the next epoch: so many are done
    means: dict[str, Any]  # of those steps


class Checkpointer(Protocol):
    """Who keeps what a training has reached."""

    def due(self) -> bool:
        """Whether to save amid this epoch."""

    def stop(self) -> bool:
        """Whether to save and end the training here."""

    def save(self, progress: TrainState) -> None:
        """Where it stands; its tensors change with the next step."""


def parameter_groups(model: Classifier) -> list[dict[str, Any]]:
    """All parameters, and in a second group those that the objective does not want to decay."""
    spared = {id(model.objective.get_parameter(name)) for name in model.objective.no_weight_decay}
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if id(p) not in spared]},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def fit(
    model: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    resume: TrainState | None,
    checkpointer: Checkpointer,
) -> list[Row]:
    """Train in place on (N, 32, 32, 3) images and (N,) labels; the rows of the epochs that are done.

    The keeper is asked after every step, and given where the training stands whenever it wants it and after every
    epoch; `resume` is what it was given in an earlier life. What happens in a step depends on the seed, the epoch and
    the step alone, so a resumed training equals one that was never stopped; several processes (parallel.py) share
    every batch and keep the same weights. A row of the history has the epoch's means of loss, accuracy and diagnostics.
    Raises FloatingPointError when the loss is not finite: the keeper has not seen the spoilt weights.
    """
    device = model.mean.device
    padded = to_device_padded(images, recipe.crop_padding, device)
    targets = torch.from_numpy(np.array(labels)).to(device)
    n, steps = len(targets), math.ceil(len(targets) / recipe.batch_size)
    optimizer = recipe.optimizer(parameter_groups(model))
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        if isinstance(optimizer, FUSED) and device.type in ("cpu", "cuda") and group["fused"] is None:
            group["fused"] = True  # one pass over the parameters, unless it was told; the same up to rounding
    history, first, earlier = [], 0, {}
    if resume:
        model.load_state_dict(resume.model)
        optimizer.load_state_dict(resume.optimizer)
        history, first, earlier = resume.history, resume.step, resume.means
    seen = len(history) * n + earlier.get("images", 0)
    with tqdm(total=recipe.epochs * n, initial=seen, unit="img", smoothing=0.05, disable=rank() > 0 or None) as bar:
        for epoch in range(len(history), recipe.epochs):
            choices = sample_augmentation(seed, epoch, n, recipe.crop_padding, recipe.flip)
            means = RunningMeans(epoch, first, history, earlier, watch=device.type == "cpu")
            model.train()
            for step, (x, y) in enumerate(batches(padded, targets, choices, recipe.batch_size, first), start=first):
                # for what draws of its own: dropout, of every process another; 0 is draw's
                torch.manual_seed(derive_seed(seed, epoch, step + 1) + rank())
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * learning_rate_factor(epoch * steps + step, steps, recipe)
                means.add(train_step(model, optimizer, x, y, recipe.clip_grad_norm), len(y))
                bar.set_description(f"epoch {epoch + 1}/{recipe.epochs}{means.so_far()}", refresh=False)
                bar.update(len(y))
                stopping = checkpointer.stop()
                if step + 1 < steps and (stopping or checkpointer.due()):
                    means.check()
                    check_weights(model, epoch)
                    checkpointer.save(
                        TrainState(model.state_dict(), optimizer.state_dict(), history, step + 1, means.state())
                    )
                    if stopping:
                        return history
            history.append(means.row() | {"lr": optimizer.param_groups[0]["lr"]})
            check_weights(model, epoch)
            first, earlier = 0, {}
            checkpointer.save(TrainState(model.state_dict(), optimizer.state_dict(), history, first, earlier))
            if stopping:
                break
    return history


def train_step(
    model: Classifier, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, clip_grad_norm: float | None
) -> dict[str, Tensor]:
    """One update from (B, 3, 32, 32) uint8 images; scalars on the device, none of which has been waited for."""
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
        correct = (log_probs.argmax(1) == labels).float() + 0 * log_probs[:, 0]  # NaN while it cannot classify
    values = {"loss": loss.detach(), "accuracy": correct.mean(), **model.objective.diagnostics(features, labels)}
    optimizer.step()
    return values


def check_weights(model: Classifier, epoch: int) -> None:
    """Raise FloatingPointError where weights or batch norm's means are not finite: a finite loss's gradient may be."""
    state = [*model.named_parameters(), *model.backbone.named_buffers()]
    spoilt = [name for name, value in state if not value.isfinite().all()]
    if spoilt:
        raise FloatingPointError(f"a step of epoch {epoch + 1} made {', '.join(spoilt)} NaN or infinite; {ADVICE}")


class RunningMeans:
    """Running means of an epoch, kept on the device. `watch`: look at each as it comes, where that costs nothing."""

    def __init__(self, epoch: int, step: int, history: list[Row], earlier: dict[str, Any], watch: bool) -> None:
        """`earlier`: the `state` after the epoch's first `step` steps."""
        self.epoch, self.step, self.history, self.watch = epoch, step, history, watch
        self.images, self.seconds = earlier.get("images", 0), earlier.get("seconds", 0.0)
        self.sums: dict[str, Tensor] = {k: v.clone() for k, v in earlier.get("sums", {}).items()}
        self.losses: list[Tensor] = []
        self.started = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of an epoch that is not over."""
        sums = {name: value.cpu() for name, value in self.sums.items()}
        return {"images": self.images, "seconds": self.elapsed(), "sums": sums}

    def elapsed(self) -> float:
        """Seconds spent in the epoch, in this life and before."""
        return self.seconds + time.perf_counter() - self.started

    def add(self, values: dict[str, Tensor], images: int) -> None:
        self.losses.append(values["loss"])
        for name, value in values.items():
            earlier = self.sums[name].to(value) if name in self.sums else 0  # on the device from the second on
            self.sums[name] = earlier + value * images
        self.images += images
        if self.watch and not values["loss"].isfinite():
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError naming the first step with a NaN or infinite loss, and what was last known good."""
        losses = torch.stack(self.losses)
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            first = int(bad[0])
            before = f"the step before had loss {losses[first - 1]:.4g}" if first else "it is the first step"
            last = ", ".join(f"{k} {v:.4g}" for k, v in self.history[-1].items()) if self.history else "none"
            raise FloatingPointError(
                f"the loss is {losses[first]} at epoch {self.epoch + 1}, step {self.step + first + 1}; {before}; last "
                f"finished epoch: {last}; {ADVICE}"
            )

    def so_far(self) -> str:
        """For the progress bar: of this epoch where looking costs nothing, else of the last."""
        known = {name: float(value) / self.images for name, value in self.sums.items()} if self.watch else {}
        known = known or (self.history[-1] if self.history else {})
        return "".join(f" {name} {known[name]:.3f}" for name in ("loss", "accuracy") if name in known)

    def row(self) -> Row:
        self.check()
        means = {name: float(value) / self.images for name, value in self.sums.items()}
        seconds = self.elapsed()
        return {"epoch": self.epoch + 1, **means, "seconds": seconds, "images_per_second": self.images / seconds}
