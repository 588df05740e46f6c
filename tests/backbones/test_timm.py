"""Networks of timm: the name, the way to install it, the image's size, float32 features."""

import sys

import pytest
import torch

from oodbench.backbones import Timm

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_without_timm_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"pip install 'oodbench\[timm\]'"):
        Timm("resnet18", side=32)


@pytest.mark.parametrize("name", ["resnet81", "hf-hub:timm/resnet18", "local-dir:/etc", ""])
def test_a_name_that_timm_lacks_is_refused(name: str) -> None:
    """Names that would load files or download are no names of networks."""
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=f"has no network {name}") as error:
        Timm(name, side=32)
    assert name != "resnet81" or "resnet18" in str(error.value)


@pytest.mark.parametrize("name", ["test_byobnet", "test_vit", "mobilenetv3_small_050"])
@pytest.mark.parametrize("side", [32, 64])
def test_networks_of_all_kinds_give_float32_features(name: str, side: int) -> None:
    """Convolutions, patches of a fixed image size, layers between the pooling and the logits."""
    pytest.importorskip("timm")
    network = Timm(name, side).eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        features = network(IMAGES)
    assert features.shape == (2, network.num_features)
    assert features.dtype == torch.float32
    assert features.isfinite().all()


def test_features_are_those_of_timm_on_resized_images() -> None:
    timm = pytest.importorskip("timm")
    network = Timm("test_byobnet", side=64).eval()
    theirs = timm.create_model("test_byobnet", num_classes=0).eval()
    theirs.load_state_dict(network.network.state_dict())
    resized = torch.nn.functional.interpolate(IMAGES, (64, 64), mode="bilinear", antialias=True)
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGES), theirs(resized))


def test_a_seed_gives_the_same_weights() -> None:
    pytest.importorskip("timm")
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(Timm("test_vit", side=32).state_dict())
    assert all(weight.equal(made[1][key]) for key, weight in made[0].items())
