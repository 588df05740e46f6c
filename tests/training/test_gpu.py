"""Training on a CUDA GPU, step by step and replayed. No assertion is about time."""

import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import training
from helpers.config import ROOT, composed
from helpers.training import LOSSES, MUON, FixedAnswers
from hydra.utils import instantiate

from oodbench.backbones import ResNet18
from oodbench.model import Classifier, extract_features
from oodbench.training.batches import TrainingSet
from oodbench.training.device import has_tf32, use_precision
from oodbench.training.graph import Graph
from oodbench.training.loop import TrainState, fit
from oodbench.training.means import Row, RunningMeans
from oodbench.training.optimizer import build_optimizer
from oodbench.training.recipe import Recipe, cosine
from oodbench.training.step import PLAIN, Execution, Steps

pytestmark = pytest.mark.gpu
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(256, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(256) % 10
LAST = len(LABELS) // 32  # steps of an epoch
REPLAYED = Execution(compile=False, cuda_graph=True)
SGD = partial(torch.optim.SGD, lr=0.001, momentum=0.9, nesterov=True)


def classifier(loss: str = "loss=ce", precision: torch.dtype = torch.bfloat16, device: str = "cuda") -> Classifier:
    torch.manual_seed(0)
    backbone = ResNet18(width=16)
    objective = instantiate(composed(*loss.split()).loss, num_features=backbone.num_features, num_classes=10)
    model = Classifier(backbone, objective, [0.5] * 3, [0.25] * 3, precision)
    return model.to(device).to(memory_format=torch.channels_last)


class SyncDetector:
    """Raises whatever waits for the GPU, from the fifth step to the one before the epoch's last; asked as `stop`."""

    def __init__(self) -> None:
        self.steps = 0

    def __call__(self) -> bool:
        self.steps += 1
        if self.steps == 4:  # cuDNN has chosen, the allocator has its memory, a graph is recorded
            torch.cuda.set_sync_debug_mode("error")
        if self.steps == LAST - 1:
            torch.cuda.set_sync_debug_mode("default")
        return False


RECIPE = replace(training.RECIPE, batch_size=32, optimizer=SGD, schedule=partial(cosine, final=0.1), warmup_epochs=0.0)


def trained(
    model: Classifier,
    stop: Callable[[], bool] = lambda: False,
    epochs: int = 1,
    execution: Execution = PLAIN,
    recipe: Recipe = RECIPE,
) -> list[Row]:
    recipe = replace(recipe, epochs=epochs)
    return fit(model, IMAGES, LABELS, recipe, 0, None, FixedAnswers(receive_stop=stop), execution)


@pytest.mark.parametrize("optimizer", [SGD, MUON])
@pytest.mark.parametrize("execution", [PLAIN, REPLAYED])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_waits_for_the_gpu(
    loss: str, execution: Execution, optimizer: Callable[..., torch.optim.Optimizer]
) -> None:
    """Reading a number back, copying from pageable memory or asking for a size raises in the training loop."""
    detector = SyncDetector()
    try:
        trained(classifier(loss), detector, execution=execution, recipe=replace(RECIPE, optimizer=optimizer))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert detector.steps == LAST


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gpu_trains_as_the_cpu_does(loss: str) -> None:
    """The same random choices: in float32 an epoch's means at a small learning rate differ by rounding alone."""
    use_precision("fp32")
    cpu, cuda = (trained(classifier(loss, torch.float32, device))[0] for device in ("cpu", "cuda"))
    assert cuda["loss"] == pytest.approx(cpu["loss"], rel=0.01)


def convolution_error(precision: str) -> float:
    """The largest difference of a float32 convolution from float64, in units of the largest value."""
    generator = torch.Generator().manual_seed(0)
    images, filters = (torch.randn(8, 64, 3 + n, 3 + n, generator=generator).cuda() for n in (13, 0))
    exact = torch.nn.functional.conv2d(images.double(), filters.double())
    dtype = use_precision(precision)
    errors = (torch.nn.functional.conv2d(images.to(dtype), filters.to(dtype)).double() - exact).abs()
    use_precision("fp32")
    return float(errors.max() / exact.abs().max())


def test_fp32_convolves_in_ieee_float32_and_tf32_does_not() -> None:
    if not has_tf32(torch.device("cuda")):
        pytest.skip("this GPU has no TF32")
    assert convolution_error("fp32") < 1e-5  # of 576 products, each with 24 bits
    assert 1e-5 < convolution_error("tf32") < 1e-2  # 11 bits


def steps_of(model: Classifier) -> tuple[Steps, TrainingSet]:
    data = TrainingSet(IMAGES, LABELS, RECIPE, 0, model.mean.device)
    means = RunningMeans([], data.steps, data.device, watch=False)
    means.begin(0, 0, {})
    return Steps(model.train(), build_optimizer(model, RECIPE), data, means, REPLAYED), data


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_recorded_and_replayed(loss: str) -> None:
    steps, data = steps_of(classifier(loss))
    for step in data.epoch(0, 0):
        steps(0, step)
    assert isinstance(steps.whole, Graph)
    assert steps.whole.graph is not None
    assert np.isfinite(steps.means.row()["loss"])


@pytest.mark.parametrize("optimizer", [SGD, MUON])
@pytest.mark.parametrize("loss", LOSSES)
def test_replayed_steps_train_as_called_ones_do(loss: str, optimizer: Callable[..., torch.optim.Optimizer]) -> None:
    """In float32 at a small learning rate: an epoch's means, its last step's included, differ by rounding alone."""
    use_precision("fp32")
    recipe = replace(RECIPE, optimizer=partial(optimizer, lr=1e-4))
    rows = [
        trained(classifier(loss, torch.float32), epochs=2, execution=how, recipe=recipe) for how in (PLAIN, REPLAYED)
    ]
    for plain, replayed in zip(*rows, strict=True):
        for name in plain.keys() - {"seconds", "images_per_second"}:
            assert replayed[name] == pytest.approx(plain[name], rel=0.01, abs=0.02, nan_ok=True), name


@pytest.mark.parametrize("loss", ["loss=ce", "loss=halo", "loss=ghm"])
def test_a_replayed_training_resumes_amid_an_epoch(loss: str) -> None:
    """From every kind of step: called before the recording, replayed, and the first of an epoch."""
    use_precision("fp32")
    states: list[TrainState] = []
    answers = FixedAnswers(save=lambda state: states.append(deepcopy(state)), due=lambda: True)
    recipe = replace(RECIPE, epochs=2)
    straight = fit(classifier(loss, torch.float32), IMAGES, LABELS, recipe, 0, None, answers, REPLAYED)
    assert len(states) == 2 * LAST
    for state in (states[1], states[5], states[LAST - 1], states[LAST + 3]):
        assert all(type(group["lr"]) is float for group in state.optimizer["param_groups"])
        model = classifier(loss, torch.float32)
        rest = fit(model, IMAGES, LABELS, recipe, 0, deepcopy(state), FixedAnswers(), REPLAYED)
        for name in ("loss", "accuracy", "lr"):
            assert rest[-1][name] == pytest.approx(straight[-1][name], rel=0.02, abs=0.02)


class Dropout(ResNet18):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(super().forward(images), 0.1, self.training)


def test_a_step_that_draws_is_called_every_time() -> None:
    model = classifier()
    model.backbone.__class__ = Dropout
    steps, data = steps_of(model)
    for step in data.epoch(0, 0):
        steps(0, step)
    assert isinstance(steps.whole, Graph)
    assert steps.whole.graph is None


@pytest.mark.parametrize("mode", [True, "reduce-overhead", "max-autotune"])
def test_a_compiled_backbone_is_the_plain_one(mode: bool | str) -> None:
    torch.compiler.reset()
    plain, compiled = classifier(), classifier()
    hows = PLAIN, Execution(compile=mode, cuda_graph=True)
    losses = [trained(m, epochs=2, execution=how)[-1]["loss"] for m, how in zip((plain, compiled), hows, strict=True)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    compiled.load_state_dict(plain.state_dict())
    for n in (len(IMAGES), 200):  # the last batch whole, and short
        ours, theirs = (extract_features(model, IMAGES[:n]) for model in (compiled, plain))
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.05)


@pytest.mark.slow
def test_two_runs_on_one_gpu_finish(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "dataset=digits", "recipe=smoke", "loss=ce", "device=cuda"]
    command += ["runs_per_gpu=2", "backbone.width=8", f"results_dir={tmp_path}"]
    runs = [
        subprocess.Popen([*command, f"seed={seed}"], env=dict(os.environ), stdout=subprocess.DEVNULL) for seed in (0, 1)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(list(tmp_path.rglob("metrics.json"))) == 2
