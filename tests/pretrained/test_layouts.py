"""Made-up weights with the names and shapes of the public benchmark's networks give those networks' logits here.

Each network is written down once more, as a function of its weights by their names there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from helpers.config import composed
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.backbones import DenseNet, ResNet18, ResNet50, WideResNet
from oodbench.model import Classifier
from oodbench.pretrained.weights import load_pretrained
from oodbench.targets import make

Weights = dict[str, Tensor]
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
K = 10


class Made(Weights):
    """Weights that are drawn when a network first asks for them, so that its function also says which there are."""

    def conv(self, name: str, x: Tensor, num_out: int, side: int, stride: int = 1) -> Tensor:
        if f"{name}.weight" not in self:
            size = num_out, x.shape[1], side, side
            self[f"{name}.weight"] = torch.randn(size) * (2 / (x.shape[1] * side**2)) ** 0.5
        return F.conv2d(x, self[f"{name}.weight"], stride=stride, padding=side // 2)

    def norm(self, name: str, x: Tensor) -> Tensor:
        if f"{name}.weight" not in self:
            for part in ("weight", "bias", "running_mean", "running_var"):
                self[f"{name}.{part}"] = torch.rand(x.shape[1]) + (0.5 if part in ("weight", "running_var") else -0.5)
            self[f"{name}.num_batches_tracked"] = torch.tensor(1)
        mean, var, weight, bias = (self[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias)

    def fc(self, maps: Tensor) -> Tensor:
        features = maps.flatten(2).mean(2)
        if "fc.weight" not in self:
            self["fc.weight"], self["fc.bias"] = torch.randn(K, features.shape[1]), torch.randn(K)
        return features @ self["fc.weight"].T + self["fc.bias"]


def resnet(w: Made, blocks: tuple[int, ...], bottleneck: bool) -> Tensor:
    x = w.norm("bn1", w.conv("conv1", IMAGES, 64, 3)).relu()
    for layer, n in enumerate(blocks):
        for i in range(n):
            name, stride, size = f"layer{layer + 1}.{i}", 2 if layer and not i else 1, 64 * 2**layer
            plan = (
                [(size, 1, 1), (size, 3, stride), (4 * size, 1, 1)] if bottleneck else [(size, 3, stride), (size, 3, 1)]
            )
            out = x
            for j, (num_out, side, step) in enumerate(plan, start=1):
                out = w.norm(
                    f"{name}.bn{j}", w.conv(f"{name}.conv{j}", out.relu() if j > 1 else out, num_out, side, step)
                )
            if x.shape != out.shape:
                x = w.norm(f"{name}.shortcut.1", w.conv(f"{name}.shortcut.0", x, out.shape[1], 1, stride))
            x = (x + out).relu()
    return w.fc(x)


def wide_resnet(w: Made, n: int, width: int) -> Tensor:
    x = w.conv("conv1", IMAGES, 16, 3)
    for group in (1, 2, 3):
        num_out = 8 * width * 2**group
        for i in range(n):
            name, stride = f"block{group}.layer.{i}", 2 if group > 1 and not i else 1
            activated = w.norm(f"{name}.bn1", x).relu()
            out = w.norm(f"{name}.bn2", w.conv(f"{name}.conv1", activated, num_out, 3, stride)).relu()
            if x.shape[1] != num_out:
                x = w.conv(f"{name}.convShortcut", activated, num_out, 1, stride)
            x = x + w.conv(f"{name}.conv2", out, num_out, 3)
    return w.fc(w.norm("bn1", x).relu())


def densenet(w: Made, n: int, growth: int) -> Tensor:
    x = w.conv("conv1", IMAGES, 2 * growth, 3)
    for block in (1, 2, 3):
        for i in range(n):
            name = f"block{block}.layer.{i}"
            out = w.conv(f"{name}.conv1", w.norm(f"{name}.bn1", x).relu(), 4 * growth, 1)
            x = torch.cat([x, w.conv(f"{name}.conv2", w.norm(f"{name}.bn2", out).relu(), growth, 3)], dim=1)
        if block < 3:
            name = f"trans{block}"
            x = F.avg_pool2d(w.conv(f"{name}.conv1", w.norm(f"{name}.bn1", x).relu(), x.shape[1] // 2, 1), 2)
    return w.fc(w.norm("bn1", x).relu())


NETWORKS: dict[str, tuple[Callable[[Made], Tensor], Callable[[], nn.Module]]] = {
    "resnet18": (lambda w: resnet(w, (2, 2, 2, 2), bottleneck=False), lambda: ResNet18(64)),
    "resnet50": (lambda w: resnet(w, (3, 4, 6, 3), bottleneck=True), lambda: ResNet50(64)),
    "wrn40_2": (lambda w: wide_resnet(w, 6, 2), lambda: WideResNet(40, 2, dropout=0.3)),
    "densenet": (lambda w: densenet(w, 16, 12), lambda: DenseNet(100, 12, dropout=0.0)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        yield


def classifier(backbone: nn.Module) -> Classifier:
    loss = composed("dataset=digits", "loss=ce").loss
    objective = make(loss, num_features=backbone.num_features, num_classes=K)
    return Classifier(backbone, objective, [0.0] * 3, [1.0] * 3, torch.float32).eval()


@every_network
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_of_the_benchmarks_layout_give_its_logits(name: str, prefix: str, tmp_path: Path) -> None:
    function, build = NETWORKS[name]
    weights = Made()
    expected = function(weights)
    model, file = classifier(build()), tmp_path / "best.ckpt"
    torch.save({prefix + key: weight for key, weight in weights.items()}, file)
    load_pretrained(file, model)
    torch.testing.assert_close(model.objective.logits(model.backbone(IMAGES)), expected, rtol=1e-3, atol=1e-3)


@every_network
def test_a_missing_weight_is_named_as_in_the_file(name: str, tmp_path: Path) -> None:
    function, build = NETWORKS[name]
    weights = Made()
    function(weights)
    missing = next(key for key in weights if key.endswith("hortcut.weight") or key.endswith("conv2.weight"))
    del weights[missing]
    torch.save(dict(weights), tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=f"has no {missing}$"):
        load_pretrained(tmp_path / "best.ckpt", classifier(build()))
