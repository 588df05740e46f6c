"""Augmentation, training and inference: what the plain way and what this project does."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate

from benchmarks import plain
from benchmarks.contest import Actions
from benchmarks.plain import BATCH, MEAN, STD, Images, Labels
from benchmarks.sections import ROOT, composed, finished, objective_of
from oodbench.backbones.resnet18 import ResNet18
from oodbench.model import Classifier, compile_backbone, extract_features
from oodbench.training.batches import batches, normalise, sample_augmentation, to_device_padded
from oodbench.training.device import PRECISIONS, disable_malloc_trim, pick_device
from oodbench.training.loop import TrainState, fit
from oodbench.training.recipe import Recipe

LOSSES = [f"{path.stem}" for path in sorted((ROOT / "conf/loss").glob("*.yaml"))]
PAIRWISE = ["circle loss.variant=pairwise_global", "circle loss.variant=pairwise_per_anchor"]
BACKBONES = [path.stem for path in sorted((ROOT / "conf/backbone").glob("*.yaml"))]
CLASSES, SIZES = 100, (128, 256, 512, 1024)  # for the losses' own cost
STEPS = 20  # of an objective in an action


def data(n: int) -> tuple[Images, Labels]:
    """Pixels' values cost nothing: any images do."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n)


def sgd(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, **options)


class Unkept:
    """A keeper that keeps nothing."""

    def due(self) -> bool:
        return False

    def stop(self) -> bool:
        return False

    def save(self, progress: TrainState) -> None:
        pass


def plain_training(backbone: str, loss: str, n: int) -> Actions:
    """Alone in its process, as people run it: how fast memory comes depends on what was there before."""
    images, labels = data(n)
    device = pick_device("auto")
    network = instantiate(composed(f"backbone={backbone}").backbone).to(device)
    objective = objective_of(loss, network.num_features, 10).to(device)
    optimizer = sgd([*network.parameters(), *objective.parameters()])
    return {"train": partial(finished, lambda: plain.train_epoch(network, objective, optimizer, images, labels))}


def plain_inference(n: int) -> Actions:
    images, _ = data(n)
    network = ResNet18(64).to(pick_device("auto"))
    return {"infer": partial(finished, lambda: plain.features(network, images))}


def plain_augmentation(n: int) -> Actions:
    images, labels = data(n)

    return {"augment": lambda: [None for _ in plain.loaded(images, labels, augment=True)]}


def our_network(n: int, compile_mode: bool | str) -> Actions:
    disable_malloc_trim()
    torch.backends.cudnn.benchmark = True
    images, labels = data(n)
    device = pick_device("auto")
    padded, targets = to_device_padded(images, 4, device), torch.from_numpy(labels).to(device)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)

    def classifier(backbone: str, loss: str, precision: str, mode: bool | str = False) -> Classifier:
        network = instantiate(composed(f"backbone={backbone}").backbone)
        objective = objective_of(loss, network.num_features, 10)
        model = Classifier(network, objective, MEAN, STD, PRECISIONS[precision]).to(device)
        compile_backbone(model, mode)
        return model.to(memory_format=torch.channels_last)

    def training(backbone: str, loss: str, precision: str, mode: bool | str = False) -> Callable[[], Any]:
        model = classifier(backbone, loss, precision, mode)
        options = ["recipe=smoke", "recipe.optimizer.lr=0.001", f"backbone={backbone}", *f"loss={loss}".split()]
        recipe = Recipe(**instantiate(composed(*options).recipe, _convert_="all"))
        return lambda: fit(model, images, labels, recipe, 0, None, Unkept())

    def augment() -> None:
        for x, _ in batches(padded, targets, sample_augmentation(0, 0, n, 4, flip=True), BATCH):
            normalise(x, mean, std)

    actions: dict[str, Callable[[], Any]] = {"augment": augment}
    for backbone in BACKBONES:
        for loss in LOSSES:
            actions[f"{backbone} {loss} bf16"] = training(backbone, loss, "bf16")
        actions[f"{backbone} ce fp32"] = training(backbone, "ce", "fp32")
    for precision in ("fp32", "bf16"):
        actions[f"infer {precision}"] = partial(extract_features, classifier("resnet18", "ce", precision), images)
    if compile_mode:
        actions["resnet18 ce bf16 compiled"] = training("resnet18", "ce", "bf16", compile_mode)
        actions["infer bf16 compiled"] = partial(
            extract_features, classifier("resnet18", "ce", "bf16", compile_mode), images
        )
    return {name: partial(finished, action) for name, action in actions.items()}


def objectives() -> Actions:
    """Forward and backward of each objective alone, STEPS times."""
    disable_malloc_trim()
    device, generator = pick_device("auto"), torch.Generator().manual_seed(0)

    def steps(loss: str, size: int) -> Callable[[], None]:
        objective = objective_of(loss, 512, CLASSES).to(device)
        features = torch.randn(size, 512, generator=generator).relu().to(device).requires_grad_()
        labels = torch.randint(CLASSES, (size,), generator=generator).to(device)

        def run() -> None:
            for _ in range(STEPS):
                objective.loss(features, labels).backward()

        return run

    return {f"{loss} {size}": partial(finished, steps(loss, size)) for loss in [*LOSSES, *PAIRWISE] for size in SIZES}
