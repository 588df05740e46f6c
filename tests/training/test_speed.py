"""Speed without a price: the fast ways of training give the numbers of the plain ones."""

import math
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import RECIPE, SGD, FixedAnswers, Small, classifier
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional as F

from oodbench.backbones import ResNet18
from oodbench.data.digits import digits
from oodbench.data.split import Split
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier, extract_features
from oodbench.training.batches import sample_augmentation
from oodbench.training.loop import fit
from oodbench.training.recipe import learning_rate_factor
from oodbench.training.step import compiled

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
LR = 0.05
FOUR = replace(RECIPE, epochs=4, batch_size=128, optimizer=partial(SGD, lr=LR), clip_grad_norm=None)
UNSAVED = FixedAnswers(save=lambda state: None)


@pytest.fixture(scope="module")
def few() -> Split:
    split = digits("train")
    return split._replace(images=split.images[:192], labels=split.labels[:192])


class Recorded(CrossEntropy):
    """Cross entropy that remembers its values."""

    curve: list[float]

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        loss = super().loss(features, labels)
        self.curve.append(loss.item())
        return loss


def network(seed: int, precision: torch.dtype) -> tuple[Classifier, Recorded]:
    torch.manual_seed(seed)
    backbone, objective = ResNet18(4), Recorded(32, 10, label_smoothing=0.0)
    objective.curve = []
    return Classifier(backbone, objective, MEAN, STD, precision), objective


def to_tensor(image: Image.Image) -> Tensor:
    return F.normalize(F.to_tensor(image), MEAN, STD)


def pil_batches(train: Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of `fit`, by PIL and torchvision, one image after the other."""
    for epoch in range(FOUR.epochs):
        order, top, left, flip = sample_augmentation(seed, epoch, len(train.labels), FOUR.crop_padding, FOUR.flip)
        for rows in torch.arange(len(order)).split(FOUR.batch_size):
            images = []
            for i in rows.tolist():
                image = F.pad(Image.fromarray(train.images[order[i]]), [FOUR.crop_padding])
                image = F.crop(image, int(top[i]), int(left[i]), 32, 32)
                images.append(to_tensor(F.hflip(image) if flip[i] else image))
            yield torch.stack(images), torch.from_numpy(train.labels[order[rows].numpy()])


def plain_curve(train: Split, seed: int) -> list[float]:
    """Return the loss of every step of a loop in float32 and NCHW, as a PyTorch tutorial writes it."""
    model, objective = network(seed, torch.float32)
    optimizer = FOUR.optimizer([{"params": [*model.parameters()]}])
    steps = math.ceil(len(train.labels) / FOUR.batch_size)
    for step, (x, y) in enumerate(pil_batches(train, seed)):
        optimizer.param_groups[0]["lr"] = LR * learning_rate_factor(step, steps, FOUR)
        optimizer.zero_grad()
        objective.loss(model.backbone(x), y).backward()
        optimizer.step()
    return objective.curve


@pytest.mark.parametrize(("precision", "first", "epoch"), [(torch.float32, 1e-4, 5e-3), (torch.bfloat16, 5e-3, 0.05)])
def test_the_loss_begins_as_a_plain_loops_does(few: Split, precision: torch.dtype, first: float, epoch: float) -> None:
    """One seed, the same draws. Only at the beginning: rounding grows, and soon a loop does not follow itself."""
    curve = plain_curve(few, seed=3)
    model, objective = network(3, precision)
    fit(model.to(memory_format=torch.channels_last), few.images, few.labels, FOUR, 3, None, UNSAVED)
    gaps = np.abs(np.subtract(objective.curve, curve))
    assert len(gaps) == 8
    assert gaps[0] < first
    assert gaps[:2].max() < epoch
    assert abs(plain_curve(few, seed=4)[0] - curve[0]) > first


def test_features_equal_a_pass_over_pil_images(few: Split) -> None:
    model, _ = network(0, torch.float32)
    features = extract_features(model.to(memory_format=torch.channels_last), few.images)
    with torch.no_grad():  # in evaluation mode since the line above
        expected = model.backbone(torch.stack([to_tensor(Image.fromarray(image)) for image in few.images]))
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_backbone_has_the_same_gradients(few: Split) -> None:
    gradients = []
    for mode in (False, True):
        torch.manual_seed(0)
        backbone = Small()
        backbone[3].p = 0.0  # dropout draws in another order
        model = Classifier(backbone, CrossEntropy(6, 10, label_smoothing=0.0), [0.5] * 3, [0.25] * 3, torch.float32)
        model.train()
        x, y = torch.from_numpy(few.images[:64]).permute(0, 3, 1, 2), torch.from_numpy(few.labels[:64])
        model.objective.loss(model.features(x, compiled(model.backbone, mode)), y).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


FAULTS = """
import resource, sys, torch
from oodbench.training.device import disable_malloc_trim
if sys.argv[1] == "kept":
    disable_malloc_trim()
for i in range(41):
    torch.ones(2**22)  # 16 MB, freed at once
    if i == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="only glibc can be told to keep memory")
def test_freed_memory_is_not_asked_for_again() -> None:
    """Count pages that the system has to find while a tensor comes and goes 40 times."""
    threshold = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}  # glibc's own would adapt itself to one tensor alone
    faults = {}
    for how in ("handed back", "kept"):
        command, env = [sys.executable, "-c", FAULTS, how], {**os.environ, **threshold}
        faults[how] = int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert faults["kept"] < faults["handed back"] / 4


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_an_update_is_fused_where_possible_unless_told(few: Split, kind: type[torch.optim.Optimizer]) -> None:
    weights = []
    for told in (None, False):
        made: list[torch.optim.Optimizer] = []

        def optimizer(groups: Any, told: bool | None = told, made: list[Any] = made) -> torch.optim.Optimizer:
            made.append(kind(groups, lr=0.01, fused=told))
            return made[0]

        model = classifier()
        recipe = replace(RECIPE, epochs=1, optimizer=optimizer)
        fit(model, few.images[:64], few.labels[:64] % 5, recipe, 0, None, UNSAVED)
        fused = None if kind is torch.optim.Adagrad else True
        assert {group["fused"] for group in made[0].param_groups} == {fused if told is None else False}
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    gaps = (weights[0] - weights[1]).abs()
    assert gaps.quantile(0.9) < 1e-5  # Adam moves by the sign of a gradient, which may be rounding
