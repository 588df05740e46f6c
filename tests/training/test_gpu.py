"""What only a CUDA GPU can show. None of it has an assertion about time."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.config import ROOT, composed, names
from helpers.training import FixedAnswers
from hydra.utils import instantiate

from oodbench.backbones.resnet18 import ResNet18
from oodbench.model import Classifier, compile_backbone, extract_features
from oodbench.training.loop import Row, TrainState, fit
from oodbench.training.recipe import Recipe, cosine

pytestmark = pytest.mark.gpu
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=circle loss.variant=pairwise_global", "loss=circle loss.variant=pairwise_per_anchor"]
LOSSES += ["loss=halo loss.variant=notes"]
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(256, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(256) % 10
LAST = len(LABELS) // 32  # step of an epoch
SGD = partial(torch.optim.SGD, lr=0.001, momentum=0.9, nesterov=True)


def classifier(loss: str = "loss=ce", precision: torch.dtype = torch.bfloat16, device: str = "cuda") -> Classifier:
    torch.manual_seed(0)
    backbone = ResNet18(width=16)
    objective = instantiate(composed(*loss.split()).loss, num_features=backbone.num_features, num_classes=10)
    model = Classifier(backbone, objective, [0.5] * 3, [0.25] * 3, precision)
    return model.to(device).to(memory_format=torch.channels_last)


class Watching:
    """A keeper that lets nothing wait for the GPU from the third step on until before the epoch's last."""

    def __init__(self) -> None:
        self.steps = 0

    def stop(self) -> bool:
        self.steps += 1
        if self.steps == 2:  # cuDNN and the allocator have settled
            torch.cuda.set_sync_debug_mode("error")
        if self.steps == LAST - 1:
            torch.cuda.set_sync_debug_mode("default")
        return False

    def due(self) -> bool:
        return False

    def save(self, progress: TrainState) -> None:
        pass


def trained(model: Classifier, keeper: Any = None, epochs: int = 1) -> list[Row]:
    recipe = Recipe(
        epochs,
        32,
        SGD,
        partial(cosine, final=0.1),
        0.0,
        1.0,
        crop_padding=4,
        crop_fill="black",
        flip=True,
        batch_norm_images=0,
    )
    return fit(model, IMAGES, LABELS, recipe, 0, None, keeper or FixedAnswers())


@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_waits_for_the_gpu(loss: str) -> None:
    """Whatever reads a number back, copies from pageable memory or asks for a size raises, in the training loop."""
    keeper = Watching()
    try:
        trained(classifier(loss), keeper)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert keeper.steps == LAST


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gpu_trains_as_the_cpu_does(loss: str) -> None:
    """The same draws: in float32 the means of an epoch at a small learning rate differ by rounding alone."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        cpu, cuda = (trained(classifier(loss, torch.float32, device))[0] for device in ("cpu", "cuda"))
    assert cuda["loss"] == pytest.approx(cpu["loss"], rel=0.01)


@pytest.mark.parametrize("mode", [True, "reduce-overhead", "max-autotune"])
def test_a_compiled_backbone_trains_and_evaluates_as_the_plain_one(mode: bool | str) -> None:
    torch.compiler.reset()
    plain, compiled = classifier(), classifier()
    compile_backbone(compiled, mode)
    losses = [trained(model, epochs=2)[-1]["loss"] for model in (plain, compiled)]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    compiled.load_state_dict(plain.state_dict())
    for n in (len(IMAGES), 200):  # the last batch whole, and short
        ours, theirs = (extract_features(model, IMAGES[:n]) for model in (compiled, plain))
        torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.05)


def test_two_runs_on_one_gpu_finish(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "dataset=digits", "recipe=smoke", "loss=ce", "device=cuda"]
    command += ["runs_per_gpu=2", "backbone.width=8", f"results_dir={tmp_path}"]
    runs = [
        subprocess.Popen([*command, f"seed={seed}"], env=dict(os.environ), stdout=subprocess.DEVNULL) for seed in (0, 1)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(list(tmp_path.rglob("metrics.json"))) == 2
