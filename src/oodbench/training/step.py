"""A step of a training: the batch, its loss and gradient, the update, the running means."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from oodbench.model import Classifier
from oodbench.training.batches import TrainingSet
from oodbench.training.distributed import gather, shard, sum_gradients, world_size
from oodbench.training.graph import Graph
from oodbench.training.means import RunningMeans
from oodbench.training.optimizer import make_capturable, set_learning_rate
from oodbench.training.recipe import learning_rate_factor


class Execution(NamedTuple):
    """Ways to compute whole batches, which change numbers by rounding alone. A short last batch is computed plainly.

    compile: the backbone, by torch.compile; a string is one of its modes, which record CUDA graphs of their own.
    cuda_graph: the step as one graph; on a CPU the same function is called.
    """

    compile: bool | str
    cuda_graph: bool


PLAIN = Execution(compile=False, cuda_graph=False)


class Steps:
    """Takes the steps of a training; in none of them does the CPU wait for the device."""

    def __init__(
        self,
        model: Classifier,
        optimizer: torch.optim.Optimizer,
        data: TrainingSet,
        means: RunningMeans,
        execution: Execution,
    ) -> None:
        self.optimizer, self.data, self.means = optimizer, data, means
        self.rows = torch.arange(data.recipe.batch_size, device=data.device)  # of the batch, in the epoch's order
        self.to_compile = bool(execution.compile)  # when the first whole batch comes
        take = partial(take_batch, model, optimizer, data, means)  # no method: memory of a graph in a cycle stays
        self.short: Callable[[Tensor], None] = partial(take, model.backbone)
        self.whole: Callable[[], None] = partial(take, compiled(model.backbone, execution.compile), self.rows)
        replayable = execution.cuda_graph and not isinstance(execution.compile, str) and world_size() == 1
        if replayable and model.objective.capturable and make_capturable(optimizer, data.device):
            self.whole = Graph(self.whole, data.device)

    def __call__(self, epoch: int, step: int) -> int:
        """Take this step of the epoch; return its number of images."""
        data, first, whole = self.data, step * len(self.rows), len(self.rows)
        set_learning_rate(self.optimizer, learning_rate_factor(epoch * data.steps + step, data.steps, data.recipe))
        torch.arange(first, first + whole, out=self.rows)
        size = min(whole, data.size - first)
        if size == whole:
            with compilation(self):
                self.whole()
        else:
            self.short(self.rows[:size])
        self.means.count(size)
        return size


def take_batch(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    data: TrainingSet,
    means: RunningMeans,
    network: nn.Module,
    rows: Tensor,
) -> None:
    """Take one step on the images at the places `rows`, (B,), of the epoch's order, and add to the means."""
    images, labels = data.batch(rows)
    values = train_step(model, optimizer, images, labels, data.recipe.clip_grad_norm, network)
    means.add(values, rows[:1] // data.recipe.batch_size, len(rows))


def train_step(
    model: Classifier,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    clip_grad_norm: float | None,
    network: nn.Module,
) -> dict[str, Tensor]:
    """Take one step on (B, 3, 32, 32) uint8 images; return scalars on the device, without waiting for them.

    network: the model's backbone, or the same compiled.
    """
    optimizer.zero_grad(set_to_none=True)
    features = gather(model.features(images[shard(len(images))], network), len(images))
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


def compiled(network: nn.Module, mode: bool | str) -> nn.Module:
    """Return the network, to be compiled when it is first called: seconds to minutes, and a compiler is needed.

    mode: False, True for torch's default, or another of its modes. All batches have one size. The objective stays as it
    is: it costs next to nothing, and some look at their batch in ways that no compiler holds. Raises RuntimeError for a
    mode torch lacks.
    """
    if not mode:
        return network
    return torch.compile(network, mode="default" if mode is True else mode, dynamic=False)  # type: ignore[return-value]


@contextmanager
def compilation(steps: Steps) -> Iterator[None]:
    """Say that the network is being compiled, and how long it took, in the first step that does."""
    if not steps.to_compile:
        yield
        return
    steps.to_compile = False
    with tqdm.external_write_mode():  # above the bar
        print("compiling the network: seconds to minutes", flush=True)
    started = time.monotonic()
    yield
    with tqdm.external_write_mode():
        print(f"compiled in {time.monotonic() - started:.0f} s", flush=True)
