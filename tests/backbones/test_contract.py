"""The interface that every backbone keeps. Each file of conf/backbone is found; a new one needs no line here."""

from functools import cache

import pytest
import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from torch import nn

from oodbench.backbones.staged import Staged

every_backbone = pytest.mark.parametrize("name", names("backbone"))
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@cache
def backbone(name: str) -> nn.Module:
    torch.default_generator.manual_seed(0)
    return instantiate(composed("dataset=digits", f"backbone={name}").backbone)


@every_backbone
def test_features_have_the_stated_number(name: str) -> None:
    features = backbone(name).eval()(IMAGES)
    assert features.shape == (3, backbone(name).num_features)
    assert features.isfinite().all()


@every_backbone
def test_every_parameter_has_a_finite_gradient(name: str) -> None:
    network = backbone(name).train()
    network.zero_grad()
    network(IMAGES).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_backbone
def test_an_image_has_the_same_features_in_any_batch(name: str) -> None:
    network = backbone(name).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES[:1]), network(IMAGES)[:1], rtol=1e-4, atol=1e-5)


@every_backbone
def test_features_are_the_pooled_last_map(name: str) -> None:
    network = backbone(name).eval()
    if isinstance(network, Staged):
        maps = IMAGES
        with torch.no_grad():
            for stage in network.stages():
                maps = stage(maps)
            assert torch.equal(network.pool(maps), network(IMAGES))
