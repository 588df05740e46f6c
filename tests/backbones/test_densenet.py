"""DenseNets equal torchvision's with another stem, and have the sizes of the paper."""

import re

import pytest
import torch
from torch import nn
from torchvision.models import DenseNet as TorchvisionDenseNet

from oodbench.backbones import DenseNet

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_the_number_of_parameters_is_the_papers() -> None:
    """Table 2 of the paper: 0.8 M for L = 100, k = 12, with a head of ten classes."""
    backbone = DenseNet(depth=100, growth=12, dropout=0.0)
    total = sum(p.numel() for p in nn.Sequential(backbone, nn.Linear(342, 10)).parameters())
    assert backbone.num_features == 342
    assert total == 769_162


def in_torchvision(key: str) -> str:
    """block1.0.bn1.weight -> denseblock1.denselayer1.norm1.weight"""
    key = re.sub(r"^block(\d)\.(\d+)", lambda m: f"denseblock{m[1]}.denselayer{int(m[2]) + 1}", key)
    key = re.sub(r"^trans(\d)\.bn1", r"transition\1.norm", key)
    key = re.sub(r"^trans(\d)\.conv1", r"transition\1.conv", key)
    key = re.sub(r"^bn1", "norm5", re.sub(r"^conv1", "conv0", key))
    return "features." + key.replace(".bn", ".norm")


@pytest.mark.parametrize(("depth", "growth"), [(16, 4), (22, 3)])
def test_features_equal_those_of_torchvision_with_another_stem(depth: int, growth: int) -> None:
    backbone = DenseNet(depth, growth, dropout=0.2).eval()
    theirs = TorchvisionDenseNet(growth, ((depth - 4) // 6,) * 3, num_init_features=2 * growth)
    theirs.features.conv0 = nn.Conv2d(3, 2 * growth, 3, padding=1, bias=False)
    theirs.features.norm0 = theirs.features.relu0 = theirs.features.pool0 = theirs.classifier = nn.Identity()
    theirs.load_state_dict({in_torchvision(key): weight for key, weight in backbone.state_dict().items()})
    with torch.no_grad():
        torch.testing.assert_close(backbone(IMAGES), theirs.eval()(IMAGES))


def test_dropout_acts_in_training_alone() -> None:
    dropped, plain = DenseNet(10, 4, dropout=0.2), DenseNet(10, 4, dropout=0.0)
    plain.load_state_dict(dropped.state_dict())
    assert not torch.allclose(dropped.train()(IMAGES), plain.train()(IMAGES))
    assert dropped.eval()(IMAGES).equal(dropped(IMAGES))


@pytest.mark.parametrize("depth", [4, 99])
def test_a_depth_that_no_densenet_has_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=f"depth is {depth}"):
        DenseNet(depth, 12, dropout=0.0)


def test_maps_have_the_papers_sizes() -> None:
    x, shapes = torch.zeros(1, 3, 32, 32), []
    for stage in DenseNet(depth=22, growth=4, dropout=0.0).stages():
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(8, 32, 32), (10, 16, 16), (11, 8, 8), (23, 8, 8)]
