"""Operations that a training step has a device do, and those that are left beside the replay of a CUDA graph.

Counted on a CPU as torch dispatches them, without views and empty tensors, which launch nothing. A fused operation
counts once: on CUDA some take more kernels than one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import project
from oodbench.build import build_model, build_recipe
from oodbench.training.batches import TrainingSet
from oodbench.training.graph import Graph
from oodbench.training.means import RunningMeans
from oodbench.training.optimizer import build_optimizer
from oodbench.training.step import Execution, Steps
from project import Overrides

FREE = {"view", "t", "permute", "slice", "select", "expand", "detach", "unsqueeze", "squeeze", "transpose", "alias"}
FREE |= {"as_strided", "split", "split_with_sizes", "unbind", "_unsafe_view", "lift_fresh", "new_empty"}


class Launches(NamedTuple):
    recorded: int  # one after the other, or as one graph
    beside: int  # for each step, whole steps replayed


class Counter(TorchDispatchMode):
    """Counts what is dispatched meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operation.overloadpacket.__name__
        self.count += name not in FREE and not name.startswith("empty")
        return operation(*args, **(kwargs or {}))


def counted(function: Callable[[], object]) -> int:
    with Counter() as counter:
        function()
    return counter.count


def launches(overrides: Overrides) -> Launches:
    """Count the second step of a training with these overrides."""
    config, cpu = project.configuration([*overrides, "device=cpu"]), torch.device("cpu")
    model, recipe = build_model(config, cpu), build_recipe(config)
    data = TrainingSet(*project.random_images(recipe.batch_size), recipe, 0, cpu)
    means = RunningMeans([], data.steps, cpu, watch=False)
    means.begin(0, 0, {})
    steps = Steps(model.train(), build_optimizer(model, recipe), data, means, Execution(False, cuda_graph=True))
    assert isinstance(steps.whole, Graph)
    steps(0, 0)
    recorded = counted(steps.whole.function)
    steps.whole = lambda: None
    return Launches(recorded, beside=counted(partial(steps, 0, 0)))
