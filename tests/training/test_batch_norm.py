from copy import deepcopy

import numpy as np
import pytest
import torch
from helpers.training import IMAGES, classifier
from torch import nn

from oodbench.backbones import ResNet18
from oodbench.model import normalise
from oodbench.training.batch_norm import estimate_batch_norm


def first_norm(model: nn.Module) -> nn.BatchNorm2d:
    return next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))


def test_the_first_layers_mean_is_that_of_the_images() -> None:
    model = classifier()
    estimate_batch_norm(model, IMAGES, len(IMAGES))
    with torch.no_grad():
        x = normalise(torch.from_numpy(IMAGES).permute(0, 3, 1, 2), model.mean, model.std)
        maps = model.backbone[0](x)  # type: ignore[index]
    torch.testing.assert_close(first_norm(model).running_mean, maps.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_statistics_are_averages_over_batches_of_spaced_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """25 of 50 images, every second one, shuffled, in two batches: of all layers, in turn, mean and variance."""
    monkeypatch.setattr("oodbench.training.batch_norm.BATCH", 10)
    model = classifier(backbone=lambda: ResNet18(4))
    twin = deepcopy(model).eval()
    layers = [module for module in twin.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: dict[nn.Module, list[torch.Tensor]] = {layer: [] for layer in layers}
    for layer in layers:
        layer.train()
        layer.register_forward_pre_hook(lambda module, x: seen[module].append(x[0]))
    with torch.no_grad():
        for part in np.array_split(np.random.default_rng(0).permutation(IMAGES[::2]), 2):
            twin.features(torch.from_numpy(part).permute(0, 3, 1, 2))
    estimate_batch_norm(model, IMAGES, 25)
    found = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for layer, own in zip(found, layers, strict=True):
        maps = [x.transpose(0, 1).flatten(1) for x in seen[own]]
        assert len(maps) == 2
        mean, var = (torch.stack([each(x, 1) for x in maps]).mean(0) for each in (torch.mean, torch.var))
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(layer.running_var, var, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("order", ["sorted", "cyclic"])
def test_the_order_of_classes_does_not_matter(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten classes of another brightness each; a batch of one class would have none of the variance between them."""
    monkeypatch.setattr("oodbench.training.batch_norm.BATCH", 40)
    labels = np.arange(400) // 40 if order == "sorted" else np.arange(400) % 10
    random = np.random.default_rng(0)
    images = (20 + 20 * labels[:, None, None, None] + random.normal(0, 10, (400, 32, 32, 3))).astype(np.uint8)
    first = classifier(backbone=lambda: ResNet18(4))
    variances = []
    for some in (images, random.permutation(images)):
        model = deepcopy(first)
        estimate_batch_norm(model, some, 400)
        variances.append(first_norm(model).running_var)
    torch.testing.assert_close(*variances, rtol=0.1, atol=1e-4)


def test_no_images_change_nothing() -> None:
    model = classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate_batch_norm(model, IMAGES, 0)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_weights_momentum_and_mode_stay() -> None:
    model = classifier(backbone=lambda: ResNet18(4))
    before = {name: value.clone() for name, value in model.named_parameters()}
    estimate_batch_norm(model, IMAGES, 20)
    assert all(value.equal(before[name]) for name, value in model.named_parameters())
    assert first_norm(model).momentum == 0.1
    assert not any(module.training for module in model.modules())


def test_dropout_draws_nothing() -> None:
    model = classifier()
    states = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        estimate_batch_norm(model, IMAGES, len(IMAGES))
        states.append([value.clone() for value in model.state_dict().values()])
    assert all(a.equal(b) for a, b in zip(*states, strict=True))


def test_a_network_without_batch_norm_stays() -> None:
    model = classifier(backbone=lambda: _Flat())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    estimate_batch_norm(model, IMAGES, len(IMAGES))
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


class _Flat(nn.Sequential):
    num_features = 6

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(3 * 32 * 32, 6))
