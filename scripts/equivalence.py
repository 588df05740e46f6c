"""Whether what makes training fast leaves the trained networks as they are -> results/equivalence.md.

python scripts/equivalence.py               a quarter of an hour on two cores; --compile: torch.compile, too
python scripts/equivalence.py --small       a minute: does it run?

A narrow ResNet-18 learns a part of CIFAR-10 (OODBENCH_DATA), or the embedded digits, by the plain float32 loop and by
this project's. With the same weights, order, crops and flips the curves of the loss are compared; with everything drawn
anew, the accuracies over many seeds.
"""

import argparse
import math
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks import plain
from benchmarks.network import Unkept, sgd
from benchmarks.sections import Section
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import ttest_ind
from torch import Tensor
from torchvision.transforms import functional as crops

from oodbench.backbones.resnet18 import ResNet18
from oodbench.data.digits import digits
from oodbench.data.parquet import parquet
from oodbench.data.split import Split, data_splits
from oodbench.evaluation.metrics import accuracy
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier, compile_backbone, extract_features, predict
from oodbench.storage import write_atomic
from oodbench.training.batches import sample_augmentation
from oodbench.training.device import disable_malloc_trim, pick_device, processor
from oodbench.training.loop import fit
from oodbench.training.recipe import Recipe, cosine, learning_rate_factor

WIDTH = 16
RECIPE = Recipe(
    epochs=4,
    batch_size=plain.BATCH,
    optimizer=partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4),
    schedule=partial(cosine, final=1e-5),
    warmup_epochs=1,
    clip_grad_norm=None,
    crop_padding=4,
    flip=True,
)
Options = dict[str, dict[str, Any]]  # {name: what `ours` is told}
Curve = NDArray[np.floating]  # (steps,) the loss of every step


class Trained(NamedTuple):
    curve: Curve
    accuracy: float


class Recorded(CrossEntropy):
    """Cross entropy that remembers what it was."""

    curve: list[float]

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        loss = super().loss(features, labels)
        self.curve.append(loss.item())
        return loss


def sets(root: str, small: bool) -> tuple[str, Split, Split]:
    """What it is, to train on, to test on."""
    images, tested = (256, 128) if small else (2560, 5000)
    if not Path(root, "cifar10", "train.parquet").is_file():
        chosen = data_splits(digits("train"), digits("test"), {}, 8, None, None)  # of its classes two are kept unseen
    else:
        train, test = (parquet(f"cifar10/{which}.parquet", root) for which in ("train", "test"))
        chosen = data_splits(train, test, {}, 10, images, tested)
    name = "CIFAR-10" if len(chosen.train.labels) == images else "the embedded digits"
    of = f"{len(chosen.train.labels):,} training images and {len(chosen.test.labels):,} test images of {name}"
    return of, chosen.train, chosen.test


def network(seed: int) -> tuple[ResNet18, Recorded]:
    torch.manual_seed(seed)
    backbone, objective = ResNet18(WIDTH), Recorded(8 * WIDTH, 10, label_smoothing=0.0)
    objective.curve = []
    return backbone, objective


def ours(train: Split, test: Split, seed: int, precision: torch.dtype, compiled: bool = False) -> Trained:
    backbone, objective = network(seed)
    model = Classifier(backbone, objective, plain.MEAN, plain.STD, precision)
    model = model.to(pick_device("auto")).to(memory_format=torch.channels_last)
    compile_backbone(model, compiled)
    fit(model, train.images, train.labels, RECIPE, seed, None, Unkept())
    outputs = predict(objective, extract_features(model, test.images), test.labels)
    return Trained(np.array(objective.curve), accuracy(outputs.log_probs, test.labels))


def drawn(train: Split, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches that `fit` draws, cropped and flipped by torchvision from PIL images."""
    order, top, left, flip = sample_augmentation(seed, epoch, len(train.labels), RECIPE.crop_padding, RECIPE.flip)
    whole = plain.PilImages(train.images, train.labels, []).transform
    for rows in torch.arange(len(order)).split(RECIPE.batch_size):
        images = []
        for i in rows.tolist():
            padded = crops.pad(Image.fromarray(train.images[order[i]]), [RECIPE.crop_padding])
            image = crops.crop(padded, int(top[i]), int(left[i]), 32, 32)
            images.append(whole(crops.hflip(image) if flip[i] else image))
        yield torch.stack(images), torch.from_numpy(train.labels[order[rows].numpy()])


def plainly(train: Split, test: Split, seed: int, same_draws: bool, nudge: float = 0.0) -> Trained:
    """`nudge`: every weight is multiplied by 1 +- so much before the first step."""
    backbone, objective = network(seed)
    device = pick_device("auto")
    backbone.to(device), objective.to(device)
    with torch.no_grad():
        for weight in [*backbone.parameters(), *objective.parameters()]:
            weight.mul_(1 + nudge * torch.randn_like(weight).sign())
    optimizer = sgd([*backbone.parameters(), *objective.parameters()])
    steps = math.ceil(len(train.labels) / RECIPE.batch_size)
    base = RECIPE.optimizer.keywords["lr"]  # type: ignore[attr-defined]
    for epoch in range(RECIPE.epochs):
        backbone.train()
        for x, y in drawn(train, seed, epoch) if same_draws else plain.loaded(train.images, train.labels, augment=True):
            for group in optimizer.param_groups:
                group["lr"] = base * learning_rate_factor(len(objective.curve), steps, RECIPE)
            optimizer.zero_grad()
            objective.loss(backbone(x.to(device)), y.to(device)).backward()
            optimizer.step()
    outputs = predict(objective, plain.features(backbone, test.images), test.labels)
    return Trained(np.array(objective.curve), accuracy(outputs.log_probs, test.labels))


def last_epoch(curve: Curve) -> float:
    return float(np.split(curve, RECIPE.epochs)[-1].mean())


def curves(train: Split, test: Split, options: Options, spread: float) -> Section:
    """One seed, the same draws. spread: of the last epoch's mean loss over seeds."""
    reference = plainly(train, test, 0, same_draws=True).curve
    others = {
        "plain, every weight moved by 1e-7 of itself": plainly(train, test, 0, same_draws=True, nudge=1e-7).curve,
        "plain, every weight moved by 1/512 of itself": plainly(train, test, 0, same_draws=True, nudge=2**-9).curve,
        "plain, another seed": plainly(train, test, 1, same_draws=True).curve,
    }
    others |= {f"ours, {name}": ours(train, test, 0, **option).curve for name, option in options.items()}
    rows = []
    for name, curve in others.items():
        gaps = np.abs(curve - reference)
        means = [f"{np.abs(part).mean():.4f}" for part in np.split(gaps, RECIPE.epochs)]
        last = last_epoch(curve) - last_epoch(reference)
        within = "yes" if abs(last) <= 2 * math.sqrt(2) * spread else "no"  # both are one training
        rows.append([name, f"{gaps[0]:.1e}", *means, f"{last:+.4f}", within])
    return Section(
        "The curve of the loss",
        "One seed; the same weights, order, crops and flips. Mean absolute difference of the steps' losses from the "
        "plain loop's, in nats: at the first step, and over each epoch; then the difference of the last epoch's means, "
        f"beside the noise: over the plain loop's seeds below these means deviate by {spread:.4f}, so the difference "
        f"of two trainings by {math.sqrt(2) * spread:.4f}. "
        "Training is chaotic: what rounding does to the plain loop itself stands in the first two rows, moved by about "
        "float32's rounding and by about bf16's.",
        [
            "",
            "first step",
            *(f"epoch {i + 1}" for i in range(RECIPE.epochs)),
            "last epoch's mean",
            "within 2 deviations",
        ],
        rows,
    )


def accuracies(train: Split, test: Split, options: Options, seeds: int) -> tuple[Section, float]:
    """Everything drawn anew. Also the deviation of the last epoch's mean loss over the plain loop's seeds."""
    plain_runs = [plainly(train, test, 100 + seed, same_draws=False) for seed in range(seeds)]
    of_plain = [run.accuracy for run in plain_runs]
    rows = [["plain", f"{100 * np.mean(of_plain):.2f} ± {100 * np.std(of_plain, ddof=1):.2f}", "", ""]]
    for name, option in options.items():
        values = [ours(train, test, 200 + seed, **option).accuracy for seed in range(seeds)]
        low, high = ttest_ind(values, of_plain, equal_var=False).confidence_interval(0.95)
        rows.append(
            [
                f"ours, {name}",
                f"{100 * np.mean(values):.2f} ± {100 * np.std(values, ddof=1):.2f}",
                f"{100 * (np.mean(values) - np.mean(of_plain)):+.2f} ({100 * low:+.2f} to {100 * high:+.2f})",
                "yes" if low <= 0 <= high else "no",
            ]
        )
    section = Section(
        "The accuracy",
        f"Of {seeds} seeds each, none of them shared, everything drawn anew; mean and standard deviation in percent, "
        "the difference from the plain loop with its 95 % interval (Welch's t).",
        ["", "accuracy", "difference", "0 within the interval"],
        rows,
    )
    return section, float(np.std([last_epoch(run.curve) for run in plain_runs], ddof=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="few images and seeds")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too; a compiler is needed")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("results/equivalence.md"))
    parser.add_argument("--data-root", default=os.environ.get("OODBENCH_DATA", "data"), help="real images, if any")
    args = parser.parse_args()
    disable_malloc_trim()
    what, train, test = sets(args.data_root, args.small)
    options: Options = {
        "float32": {"precision": torch.float32},
        "bf16": {"precision": torch.bfloat16},
    }
    if args.compile:
        options["bf16, compiled"] = {"precision": torch.bfloat16, "compiled": True}
    of_accuracy, spread = accuracies(train, test, options, 2 if args.small else args.seeds)
    parts = [curves(train, test, options, spread), of_accuracy]
    head = (
        "# What makes training fast leaves the networks as they are\n\n"
        f"Made by `python scripts/equivalence.py{' --compile' * args.compile}` on: {processor()}, torch "
        f"{torch.__version__}. A ResNet-18 of width "
        f"{WIDTH}, {what}, {RECIPE.epochs} epochs, batches of {RECIPE.batch_size}, SGD, cross entropy. Plain: float32, "
        "NCHW, a DataLoader over PIL images. Ours: images resident on the device, cropped and flipped by one gather, "
        "channels_last, fused updates, freed memory kept, in float32 and in bf16 autocast."
    )
    write_atomic(args.output, "\n\n".join([head, *map(str, parts)]))
    print(args.output.read_text())


if __name__ == "__main__":
    main()
