"""The interface that every backbone keeps. Each file of conf/backbone is found; a new one needs no line here."""

from copy import deepcopy
from functools import cache

import pytest
import torch
from helpers.config import composed, names
from torch import nn

from oodbench.backbones.staged import Prepared, Staged
from oodbench.targets import make

every_backbone = pytest.mark.parametrize("name", names("backbone"))
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


EXTRAS = ("timm",)  # packages that a backbone may need and that not everyone has


@cache
def backbone(name: str) -> nn.Module:
    torch.default_generator.manual_seed(0)
    try:
        network: nn.Module = make(composed("dataset=digits", f"backbone={name}").backbone)
    except ImportError as missing:
        if missing.name in EXTRAS:
            pytest.skip(str(missing))
        raise
    if isinstance(network, Prepared):
        network.prepare(IMAGES)
    return network


@every_backbone
def test_features_have_the_stated_number(name: str) -> None:
    features = backbone(name).eval()(IMAGES)
    assert features.shape == (len(IMAGES), backbone(name).num_features)
    assert features.isfinite().all()


@every_backbone
def test_every_parameter_has_a_finite_gradient(name: str) -> None:
    network = backbone(name).train()
    network.zero_grad()
    network(IMAGES).square().sum().backward()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_backbone
def test_a_copy_computes_the_same(name: str) -> None:
    network = backbone(name).eval()
    with torch.no_grad():
        assert torch.equal(deepcopy(network)(IMAGES), network(IMAGES))


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


@every_backbone
def test_features_under_bf16_are_not_all_bf16_numbers(name: str) -> None:
    """Every score reads them: a thousand distinct values would tie images."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = backbone(name).eval()(IMAGES)
    assert features.dtype == torch.float32
    fired = features[features != 0]
    assert (fired != fired.bfloat16().float()).float().mean() > 0.5
