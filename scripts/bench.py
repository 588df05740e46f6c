"""Images per second of this project's training and evaluation, beside the loop that people write.

python scripts/bench.py [--images 512] [--repeats 5] [--loss ce]

The plain loop is float32, NCHW, a DataLoader over PIL images with torchvision's transforms. Both train a ResNet-18 with
batches of 128 and take turns in one process, so that a machine whose speed drifts still gives a fair ratio; the figures
are medians over the repeats. The plain loop's images are decoded beforehand and loaded in this process (num_workers=0):
with as many workers as cores they would compete with the network for them.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from oodbench.backbones import ResNet18
from oodbench.data.batches import batches, draw, resident
from oodbench.device import pick_device, pick_precision, processor
from oodbench.fit import train_step
from oodbench.losses import Objective
from oodbench.model import Classifier, features_of

CONF = str(Path(__file__).resolve().parent.parent / "conf")
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
BATCH = 128
Images = NDArray[np.uint8]
Actions = tuple[Callable[[], None], Callable[[], None]]  # train and evaluate, each over all images once


class PilImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does with an image."""

    def __init__(self, images: Images, labels: NDArray[np.int64], steps: list[Any]) -> None:
        tail = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.images, self.labels, self.transform = images, labels, transforms.Compose(steps + tail)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)


def plain(objective: Objective, images: Images, labels: NDArray[np.int64]) -> Actions:
    crop_and_flip = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    to_train, to_test = PilImages(images, labels, crop_and_flip), PilImages(images, labels, [])
    backbone = ResNet18(64)
    model = nn.ModuleList([backbone, objective])
    optimizer = sgd(model)

    def train() -> None:
        model.train()
        for x, y in DataLoader(to_train, BATCH, shuffle=True):
            optimizer.zero_grad()
            objective.loss(backbone(x), y).backward()
            optimizer.step()

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        for x, _ in DataLoader(to_test, BATCH):
            objective.logits(backbone(x))

    return train, evaluate


def ours(objective: Objective, images: Images, labels: NDArray[np.int64]) -> Actions:
    device = pick_device("auto")
    model = Classifier(ResNet18(64), objective, MEAN, STD, pick_precision("auto", device))
    model = model.to(device).to(memory_format=torch.channels_last)
    optimizer = sgd(model)
    padded, targets = resident(images, 4, device), torch.from_numpy(labels).to(device)

    def train() -> None:
        model.train()
        for x, y in batches(padded, targets, draw(0, 0, len(labels), 4, flip=True), BATCH):
            train_step(model, optimizer, x, y, clip_grad_norm=None)

    @torch.no_grad()
    def evaluate() -> None:
        objective.logits(features_of(model, images).to(device))

    return train, evaluate


def seconds(action: Callable[[], None]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=512, help="in a repeat")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--loss", default="ce", help="an option of conf/loss")
    args = parser.parse_args()
    with initialize_config_dir(CONF, version_base="1.3"):
        loss = compose("train", [f"loss={args.loss}"]).loss

    rng = np.random.default_rng(0)  # the pixels' values cost nothing: any images do
    images = rng.integers(0, 256, (args.images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, args.images)
    loops = {f.__name__: f(instantiate(loss, num_features=512, num_classes=10), images, labels) for f in (plain, ours)}

    spent: dict[tuple[str, str], list[float]] = {}
    for repeat in range(args.repeats + 1):
        for name, actions in loops.items():
            for what, action in zip(("training", "evaluation"), actions, strict=True):
                elapsed = seconds(action)
                if repeat:  # the first is a warm-up
                    spent.setdefault((what, name), []).append(elapsed)

    print(f"{processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, loss {args.loss}, images/s:")
    for what in ("training", "evaluation"):
        rate = {name: args.images / statistics.median(spent[what, name]) for name in loops}
        print(
            f"{what:<11} plain {rate['plain']:6.0f}   ours {rate['ours']:6.0f}   x {rate['ours'] / rate['plain']:.1f}"
        )


if __name__ == "__main__":
    main()
