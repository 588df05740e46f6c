"""The step: the same to the bit whether a graph may record it or not, never read back, compiled for one size."""

import gc
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import (
    CLASSES,
    FEATURES,
    IMAGES,
    LABELS,
    LOSSES,
    MUON,
    RECIPE,
    SGD,
    FixedAnswers,
    RecordingLoss,
    classifier,
    classifier_with,
    same,
    train,
)
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier, extract_features
from oodbench.training.batches import TrainingSet
from oodbench.training.graph import Graph
from oodbench.training.loop import TrainState, fit
from oodbench.training.means import Row, RunningMeans
from oodbench.training.optimizer import build_optimizer
from oodbench.training.recipe import Recipe
from oodbench.training.step import PLAIN, Execution, Steps

RECORDED = Execution(compile=False, cuda_graph=True)
COMPILED = Execution(compile=True, cuda_graph=False)
CPU = torch.device("cpu")
OPTIMIZERS = {"SGD": SGD, "Muon": MUON}


def means_of(state: TrainState) -> list[Row]:
    """The rows without time, and without the learning rate, of which a graph has 24 bits."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second", "lr")} for row in state.history]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_to_record_is_the_plain_one_to_the_bit(loss: str, optimizer: str) -> None:
    recipe = replace(RECIPE, optimizer=OPTIMIZERS[optimizer])
    plain, recorded = (train(classifier(loss), recipe, execution=how)[-1] for how in (PLAIN, RECORDED))
    assert same(recorded.model, plain.model)
    assert same(means_of(recorded), means_of(plain))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_recorded_and_plain_steps_continue_each_other(optimizer: str) -> None:
    """From a checkpoint amid the second epoch, with the learning rate as a number."""
    recipe = replace(RECIPE, optimizer=OPTIMIZERS[optimizer])
    straight = train(classifier("loss=ghm"), recipe)[-1]
    for before, after in ((PLAIN, RECORDED), (RECORDED, RECORDED), (RECORDED, PLAIN)):
        states = train(classifier("loss=ghm"), recipe, execution=before, due=lambda: True)
        (amid,) = [state for state in states if (len(state.history), state.step) == (1, 2)]
        assert all(type(group["lr"]) is float for group in amid.optimizer["param_groups"])
        rest = train(classifier("loss=ghm", seed=99), recipe, resume=amid, execution=after)
        assert same(rest[-1].model, straight.model)
        assert same(means_of(rest[-1]), means_of(straight))


def steps_of(model: Classifier, recipe: Recipe, execution: Execution) -> Steps:
    data = TrainingSet(IMAGES, LABELS, recipe, 0, CPU)
    means = RunningMeans([], data.steps, CPU, watch=False)
    means.begin(0, 0, {})
    return Steps(model, build_optimizer(model, recipe), data, means, execution)


class NoUpload(TorchFunctionMode):
    """An error where a tensor is made of Python's numbers, which on a GPU is a copy that is waited for."""

    makers = (torch.tensor, torch.as_tensor, torch.asarray, torch.from_numpy, torch.Tensor.new_tensor)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert function not in self.makers or isinstance(args[0], Tensor), f"{function.__name__} of {args[0]}"
        return function(*args, **(kwargs or {}))


def take_unseen(build: Callable[[], Classifier], recipe: Recipe, execution: Execution = RECORDED) -> None:
    """Take an epoch's steps with tensors that have a shape and no content: to read a number back is an error.

    So is, after the first step, in which the optimizer's state comes into being, to make a tensor of numbers.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "to", lambda module, **format: module)  # such parameters stay as they are
        steps = steps_of(build(), recipe, execution)
        if execution.cuda_graph:
            assert isinstance(steps.whole, Graph)
            steps.whole = steps.whole.function  # what is recorded
        for step in steps.data.epoch(0, 0):
            with NoUpload() if step else nullcontext():
                steps(0, step)


@pytest.mark.parametrize("execution", [PLAIN, RECORDED], ids=["plain", "recorded"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_waits_for_a_number(loss: str, optimizer: str, execution: Execution) -> None:
    take_unseen(partial(classifier, loss), replace(RECIPE, optimizer=OPTIMIZERS[optimizer]), execution)


class Reading(RecordingLoss):
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        loss = super().loss(features, torch.zeros_like(labels))
        return loss if loss.item() > 0 else 0 * loss


def test_reading_a_number_back_would_be_seen() -> None:
    with pytest.raises(DataDependentOutputException):
        take_unseen(lambda: classifier_with(Reading()), RECIPE)


class Uploading(CrossEntropy):
    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return super().loss(features, labels) * torch.tensor(2.0, device=features.device)


def test_copying_a_number_to_the_device_would_be_seen() -> None:
    with pytest.raises(AssertionError, match=r"tensor of 2\.0"):
        take_unseen(lambda: classifier_with(Uploading(FEATURES, CLASSES, label_smoothing=0.0)), RECIPE)


class Dispatched(TorchDispatchMode):
    """The names of the operations that torch carries out meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(operation.overloadpacket.__name__)
        return operation(*args, **(kwargs or {}))


def test_beside_a_replay_a_step_sets_its_rows_and_rates() -> None:
    steps = steps_of(classifier("loss=halo"), RECIPE, RECORDED)
    steps.whole = lambda: None
    with Dispatched() as dispatched:
        steps(0, 2)
    assert sorted(dispatched.names) == ["arange", "fill_", "fill_"]  # a rate for HALO's gamma, which does not decay
    assert steps.rows.tolist() == [*range(32, 48)]


def test_every_step_casts_the_current_weights() -> None:
    """Autocast's copies end with the forward pass: a graph with those of its recording would never see an update."""
    model, casts = classifier(), []
    model.precision = torch.bfloat16
    steps = steps_of(model, RECIPE, RECORDED)
    for step in range(3):
        with Dispatched() as dispatched:
            steps(0, step)
        casts.append(dispatched.names.count("_to_copy"))
    assert casts[0] == casts[1] == casts[2]


def marks(weight: Tensor) -> dict[Any, Any]:
    """Return what is written on autograd's node that adds to the weight's gradient: a new one where none is alive."""
    return torch.autograd.graph.get_gradient_edge(weight).node.metadata


class Marking(CrossEntropy):
    """Marks the node of its weight; its diagnostics have a gradient."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        loss = super().loss(features, labels)
        marks(self.head.weight)["of this step"] = True
        assert marks(self.head.weight)  # the loss keeps the node alive
        return loss

    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        return {"norm": self.head.weight.norm()}


def test_no_step_keeps_the_nodes_of_the_one_before() -> None:
    """A node remembers its stream: one of a short batch's, kept alive, would break the recording on another."""
    model = classifier_with(Marking(FEATURES, CLASSES, label_smoothing=0.0))
    steps = steps_of(model, RECIPE, RECORDED)
    for step in range(2):
        steps(0, step)
        assert not marks(model.objective.head.weight)
        assert not steps.means.sums["norm"].requires_grad


def test_the_memory_of_a_graph_goes_with_its_training() -> None:
    steps = steps_of(classifier(), RECIPE, RECORDED)
    graph = weakref.ref(steps.whole)
    gc.disable()
    try:
        del steps
        assert graph() is None
    finally:
        gc.enable()


class Deciding(RecordingLoss):
    capturable = False


def is_recorded(execution: Execution, recipe: Recipe = RECIPE, model: Classifier | None = None) -> bool:
    return isinstance(steps_of(model or classifier(), recipe, execution).whole, Graph)


def test_what_no_graph_can_repeat_is_not_recorded() -> None:
    assert is_recorded(RECORDED)
    assert is_recorded(RECORDED._replace(compile=True))
    assert not is_recorded(PLAIN)
    assert not is_recorded(RECORDED._replace(compile="reduce-overhead"))  # which records by itself
    assert not is_recorded(RECORDED, model=classifier_with(Deciding()))
    for optimizer in (partial(torch.optim.Adagrad, lr=0.1), partial(torch.optim.SGD, lr=0.1, fused=False)):
        assert not is_recorded(RECORDED, replace(RECIPE, optimizer=optimizer))


def test_several_processes_record_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.training.step.world_size", lambda: 2)
    assert not is_recorded(RECORDED)


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the images that a network is compiled for meanwhile, by a compiler that changes nothing."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
        shapes.extend(tuple(each.shape) for each in inputs if each.ndim == 4 and each.shape[1:] == (3, 32, 32))
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend=backend))
    return shapes


def test_one_training_graph_for_batches_of_128_128_and_80(
    compilations: list[tuple[int, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The short batch and the evaluation are not compiled."""
    model, images, labels = classifier(), np.resize(IMAGES, (336, 32, 32, 3)), np.arange(336) % 5
    for execution in (COMPILED, COMPILED._replace(cuda_graph=True)):
        torch.compiler.reset()
        fit(model, images, labels, replace(RECIPE, epochs=2, batch_size=128), 0, None, FixedAnswers(), execution)
        assert compilations == [(128, 3, 32, 32)]
        extract_features(model, images)
        assert compilations.pop() == (128, 3, 32, 32)
        first, second = capsys.readouterr().out.splitlines()
        assert first.startswith("compiling the network: seconds to minutes")
        assert second.startswith("compiled in ")


def test_a_compiled_network_keeps_its_names(compilations: list[tuple[int, ...]]) -> None:
    """A checkpoint does not tell how its steps were computed."""
    plain, compiled = (train(classifier(), replace(RECIPE, epochs=1), execution=how)[-1] for how in (PLAIN, COMPILED))
    assert compilations
    assert same(compiled.model, plain.model)


def test_a_mode_that_torch_lacks_is_refused() -> None:
    with pytest.raises(RuntimeError, match="fastest"):
        steps_of(classifier(), RECIPE, COMPILED._replace(compile="fastest"))
