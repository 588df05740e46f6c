"""What only a CUDA GPU can show. None of it has an assertion about time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, composed, names
from hydra.utils import instantiate

from oodbench.backbones import ResNet18
from oodbench.data.batches import batches, draw, resident
from oodbench.fit import Means, parameter_groups, train_step
from oodbench.model import Classifier, compile_backbone, features_of

pytestmark = pytest.mark.gpu
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=circle loss.variant=pairwise_global", "loss=circle loss.variant=pairwise_per_anchor"]
LOSSES += ["loss=halo loss.variant=notes"]
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(256, size=(256, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(256) % 10


def classifier(loss: str = "loss=ce", precision: torch.dtype = torch.bfloat16, device: str = "cuda") -> Classifier:
    torch.manual_seed(0)
    backbone = ResNet18(width=16)
    objective = instantiate(composed(*loss.split()).loss, num_features=backbone.num_features, num_classes=10)
    model = Classifier(backbone, objective, [0.5] * 3, [0.25] * 3, precision)
    return model.to(device).to(memory_format=torch.channels_last)


def steps(model: Classifier, epochs: int = 1) -> Iterator[Means]:
    """Batches of 32 as `fit` takes them, clipping included; the running means after every step."""
    device = model.mean.device
    padded, targets = resident(IMAGES, 4, device), torch.from_numpy(LABELS).to(device)
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    model.train()
    for epoch in range(epochs):
        means = Means(epoch, 0, [], {}, watch=False)
        for x, y in batches(padded, targets, draw(0, epoch, len(targets), 4, flip=True), 32):
            means.add(train_step(model, optimizer, x, y, clip_grad_norm=1.0), len(y))
            yield means


@pytest.mark.parametrize("loss", LOSSES)
def test_no_step_waits_for_the_gpu(loss: str) -> None:
    """Whatever reads a number back, copies from pageable memory or asks for a size raises."""
    training = steps(classifier(loss))
    for _ in range(2):
        next(training)  # cuDNN and the allocator settle
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(4):
            next(training)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gpu_trains_as_the_cpu_does(loss: str) -> None:
    """The same draws: in float32 the losses of the first steps differ by rounding alone."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        cpu, cuda = (
            torch.stack([means.losses[-1].cpu() for means in islice(steps(classifier(loss, torch.float32, device)), 3)])
            for device in ("cpu", "cuda")
        )
    torch.testing.assert_close(cuda, cpu, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("mode", [True, "reduce-overhead", "max-autotune"])
def test_a_compiled_backbone_trains_and_evaluates_as_the_plain_one(mode: bool | str) -> None:
    torch.compiler.reset()
    plain, compiled = classifier(), classifier()
    compile_backbone(compiled, mode)
    for model in (plain, compiled):
        for _ in range(2):
            *_, means = steps(model)
        assert means.row()["loss"] < 2.5
    compiled.load_state_dict(plain.state_dict())
    ours, theirs = (features_of(model, IMAGES[:200]) for model in (compiled, plain))
    torch.testing.assert_close(ours, theirs, rtol=0.1, atol=0.05)


def test_two_runs_share_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "dataset=digits", "recipe=smoke", "loss=ce", "device=cuda"]
    command += ["runs_per_gpu=2", "backbone.width=8", f"results_dir={tmp_path}"]
    runs = [
        subprocess.Popen([*command, f"seed={seed}"], env=dict(os.environ), stdout=subprocess.DEVNULL) for seed in (0, 1)
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(list(tmp_path.rglob("metrics.json"))) == 2
