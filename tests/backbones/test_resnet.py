"""ResNets as the field has them for images of 32 x 32."""

import pytest
import torch
import torchvision
from torch import nn

from oodbench.backbones import ResNet18, ResNet34, ResNet50
from oodbench.backbones.resnet import ResNet

DEPTHS = {18: ResNet18, 34: ResNet34, 50: ResNet50}
every_depth = pytest.mark.parametrize("depth", DEPTHS)


@pytest.mark.parametrize(("depth", "published"), [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842)])
def test_a_resnet_has_the_published_number_of_parameters(depth: int, published: int) -> None:
    backbone = DEPTHS[depth](width=64)
    network = nn.Sequential(backbone, nn.Linear(backbone.num_features, 10))
    assert sum(p.numel() for p in network.parameters()) == published


def of_torchvision(depth: int, backbone: ResNet) -> nn.Module:
    """torchvision's network with CIFAR's stem, without a head, and with the backbone's weights"""
    theirs = getattr(torchvision.models, f"resnet{depth}")()
    theirs.conv1, theirs.maxpool, theirs.fc = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity(), nn.Identity()
    theirs.load_state_dict({key.replace("shortcut", "downsample"): w for key, w in backbone.state_dict().items()})
    return theirs.eval()


@every_depth
def test_features_equal_those_of_torchvision_with_another_stem(depth: int) -> None:
    backbone, images = DEPTHS[depth](width=64).eval(), torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), of_torchvision(depth, backbone)(images))


def test_resnet18_keeps_the_resolution_up_to_its_second_stage() -> None:
    backbone, shapes = ResNet18(width=4), {}
    for name, module in backbone.named_children():
        module.register_forward_hook(lambda m, x, out, name=name: shapes.update({name: tuple(out.shape[1:])}))
    assert backbone(torch.zeros(2, 3, 32, 32)).shape == (2, 32)
    stages = {"layer1": (4, 32, 32), "layer2": (8, 16, 16), "layer3": (16, 8, 8), "layer4": (32, 4, 4)}
    assert shapes == {"conv1": (4, 32, 32), "bn1": (4, 32, 32), **stages}


@pytest.mark.parametrize("width", [4, 16, 64])
def test_the_number_of_features_follows_the_width(width: int) -> None:
    backbone = ResNet18(width)
    assert backbone.num_features == 8 * width
    assert sum(isinstance(m, nn.Conv2d) for m in backbone.modules()) == 20  # 17 of the 18 layers, 3 shortcuts


def test_features_are_of_a_relu_averaged_over_the_plane() -> None:
    backbone, planes = ResNet18(width=4), []
    backbone.layer4.register_forward_hook(lambda m, x, out: planes.append(out))
    features = backbone(torch.randn(3, 3, 32, 32))
    assert (features >= 0).all()
    torch.testing.assert_close(features, planes[0].flatten(2).mean(2))


def test_every_parameter_of_the_backbone_has_a_gradient() -> None:
    backbone = ResNet18(width=4)
    backbone(torch.randn(8, 3, 32, 32)).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_a_batch_of_one_can_be_trained_on() -> None:
    assert ResNet18(width=4).train()(torch.randn(1, 3, 32, 32)).isfinite().all()
