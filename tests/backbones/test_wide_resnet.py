"""Wide ResNets equal a functional definition, and have the sizes of the paper."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones import WideResNet

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("depth", "width", "published", "exact"), [(40, 2, 2.2, 2_243_546), (28, 10, 36.5, 36_479_194)]
)
def test_the_number_of_parameters_is_the_papers(depth: int, width: int, published: float, exact: int) -> None:
    """Table 5 of the paper, in millions with one decimal, with a head of ten classes."""
    network = nn.Sequential(WideResNet(depth, width, dropout=0.0), nn.Linear(64 * width, 10))
    total = sum(p.numel() for p in network.parameters())
    assert round(total / 1e6, 1) == published
    assert total == exact


def norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], w[f"{name}.weight"], w[f"{name}.bias"])


def by_definition(w: dict[str, Tensor], blocks: int, images: Tensor) -> Tensor:
    x = F.conv2d(images, w["conv1.weight"], padding=1)
    for group in (1, 2, 3):
        for i in range(blocks):
            name, stride = f"block{group}.{i}", 2 if group > 1 and i == 0 else 1
            activated = norm(w, f"{name}.bn1", x).relu()
            out = F.conv2d(activated, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            out = F.conv2d(norm(w, f"{name}.bn2", out).relu(), w[f"{name}.conv2.weight"], padding=1)
            projection = w.get(f"{name}.shortcut.weight")
            x = out + (x if projection is None else F.conv2d(activated, projection, stride=stride))
    return norm(w, "bn1", x).relu().flatten(2).mean(2)


def test_features_equal_a_functional_definition() -> None:
    network = WideResNet(depth=16, width=1, dropout=0.5).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), by_definition(network.state_dict(), 2, IMAGES))


def test_convolutions_begin_with_the_mean_square_of_he() -> None:
    torch.manual_seed(0)
    for name, weight in WideResNet(16, 4, dropout=0.0).named_parameters():
        if weight.ndim == 4 and weight.numel() > 5000:
            expected = 2 / (weight.shape[0] * weight.shape[2] * weight.shape[3])
            assert weight.square().mean().item() == pytest.approx(expected, rel=6 * math.sqrt(2 / weight.numel())), name


def test_dropout_acts_in_training_alone() -> None:
    dropped, plain = WideResNet(10, 1, dropout=0.3), WideResNet(10, 1, dropout=0.0)
    plain.load_state_dict(dropped.state_dict())
    assert not torch.allclose(dropped.train()(IMAGES), plain.train()(IMAGES))
    assert dropped.eval()(IMAGES).equal(dropped(IMAGES))


@pytest.mark.parametrize("depth", [4, 18, 41])
def test_a_depth_that_no_wide_resnet_has_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth is {depth}"):
        WideResNet(depth, 2, dropout=0.0)


def test_maps_have_the_papers_sizes() -> None:
    x, shapes = torch.zeros(1, 3, 32, 32), []
    for stage in WideResNet(10, 2, dropout=0.0).stages():
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(16, 32, 32), (32, 32, 32), (64, 16, 16), (128, 8, 8)]
