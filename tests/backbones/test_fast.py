import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones import Fast
from oodbench.backbones.staged import Staged

IMAGES = (
    torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)).cumsum(2).cumsum(3)
)  # smooth, as photographs


def prepared() -> Fast:
    backbone = Fast([4, 6, 8])
    backbone.prepare(IMAGES)
    return backbone


def test_whitened_patches_are_uncorrelated() -> None:
    outputs = F.conv2d(IMAGES, prepared().whitening[:12]).transpose(0, 1).flatten(1)
    moment = outputs @ outputs.T / outputs.shape[1]
    torch.testing.assert_close(moment - moment.diag().diag(), torch.zeros(12, 12), atol=1e-3, rtol=0)


def test_strong_components_have_unit_mean_square() -> None:
    outputs = F.conv2d(IMAGES, prepared().whitening[:12]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(outputs.square().mean(1)[-4:], torch.ones(4), atol=1e-2, rtol=0)


def test_the_second_half_of_the_filters_is_the_first_negated() -> None:
    first, second = prepared().whitening.chunk(2)
    assert first.equal(-second)


def test_whitening_is_saved_and_never_trained() -> None:
    backbone = prepared()
    assert "whitening" in backbone.state_dict()
    assert "whitening" not in dict(backbone.named_parameters())


def test_features_are_the_pooled_last_stage() -> None:
    backbone, images = prepared().eval(), torch.randn(2, 3, 32, 32)
    x = images
    for stage in backbone.stages():
        x = stage(x)
    assert isinstance(backbone, Staged)
    assert backbone(images).equal(backbone.pool(x))


def test_features_equal_a_functional_definition() -> None:
    backbone, images = prepared().eval(), torch.randn(2, 3, 32, 32)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    w = backbone.state_dict()

    def normed(x: Tensor, name: str) -> Tensor:
        mean, var, bias = (w[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() + bias

    x = F.conv2d(images, w["whitening"]).clamp_min(0)
    for i in range(3):
        name = f"groups.{i}"
        x = F.conv2d(x, w[f"{name}.conv1.weight"], padding=1)
        x = x.unfold(2, 2, 2).unfold(3, 2, 2).amax((4, 5))  # of 2x2 pixels, the rest at the edge left out
        x = normed(x, f"{name}.bn1").clamp_min(0)
        x = normed(F.conv2d(x, w[f"{name}.conv2.weight"], padding=1), f"{name}.bn2").clamp_min(0)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), x.flatten(2).max(2).values, rtol=1e-4, atol=1e-4)


def test_whitening_equals_its_formula() -> None:
    """Outputs of the twelve filters have mean square lambda / (lambda + 5e-4), also where lambda is as small."""
    images = 0.02 * IMAGES
    backbone = Fast([4, 6, 8])
    backbone.prepare(images)
    patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
    values = torch.linalg.eigvalsh(patches.T @ patches / len(patches))
    outputs = F.conv2d(images.double(), backbone.whitening[:12].double())
    torch.testing.assert_close(outputs.square().mean((0, 2, 3)), values / (values + 5e-4), atol=1e-4, rtol=1e-3)
    assert values[0] < 5e-4 < values[-1]


@pytest.mark.parametrize("side", [32, 40])
def test_features_are_float32_and_not_negative(side: int) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        features = prepared()(torch.randn(2, 3, side, side))
    assert features.shape == (2, 8)
    assert features.dtype == torch.float32
    assert (features >= 0).all()


def test_convolutions_begin_by_passing_their_inputs_on() -> None:
    x = torch.randn(1, 4, 5, 5)
    convolution = Fast([4, 6, 8]).groups[1].conv1
    torch.testing.assert_close(convolution(x)[:, :4], x)


def test_trained_parameters_are_filters_and_biases() -> None:
    trained = sum(p.numel() for p in Fast([64, 256, 256]).parameters() if p.requires_grad)
    filters = 24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256
    assert trained == 9 * filters + 2 * (64 + 256 + 256)
