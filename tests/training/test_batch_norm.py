"""Batch norm's statistics, estimated once more when a training is over."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.bare import Plain
from helpers.training import IMAGES, classifier, same
from torch import nn

from oodbench.training import batch_norm
from oodbench.training.batch_norm import estimate_batch_norm


def statistics(images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and unbiased variance of what Small's batch norm sees of these images."""
    model = classifier()
    seen: list[torch.Tensor] = []
    model.backbone[0].register_forward_hook(lambda module, x, y: seen.append(y.detach()))
    model.eval().features(torch.from_numpy(images).permute(0, 3, 1, 2))
    values = seen[0].movedim(1, 0).flatten(1)
    return values.mean(1), values.var(1)


def test_statistics_are_those_of_the_images() -> None:
    model = classifier()
    estimate_batch_norm(model, IMAGES, len(IMAGES))
    mean, var = statistics(IMAGES)
    torch.testing.assert_close(model.backbone[1].running_mean, mean)
    torch.testing.assert_close(model.backbone[1].running_var, var)


def test_statistics_are_averages_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "BATCH", 10)
    model = classifier()
    estimate_batch_norm(model, IMAGES, len(IMAGES))
    each = [statistics(IMAGES[i : i + 10]) for i in range(0, 50, 10)]
    torch.testing.assert_close(model.backbone[1].running_mean, torch.stack([mean for mean, _ in each]).mean(0))
    torch.testing.assert_close(model.backbone[1].running_var, torch.stack([var for _, var in each]).mean(0))


def test_the_images_are_evenly_spaced() -> None:
    model = classifier()
    estimate_batch_norm(model, IMAGES, 10)
    torch.testing.assert_close(model.backbone[1].running_mean, statistics(IMAGES[::5])[0])


def test_only_statistics_change() -> None:
    model = classifier()
    before = deepcopy(model.state_dict())
    momentum = model.backbone[1].momentum
    estimate_batch_norm(model, IMAGES, len(IMAGES))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"backbone.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert model.backbone[1].momentum == momentum
    assert not any(module.training for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d))


@pytest.mark.parametrize("count", [0, 50])
def test_without_images_or_batch_norm_nothing_changes(count: int) -> None:
    model = classifier(backbone=lambda: Plain(4)) if count else classifier()
    before = deepcopy(model.state_dict())
    estimate_batch_norm(model, IMAGES, count)
    assert same(dict(model.state_dict()), dict(before))
