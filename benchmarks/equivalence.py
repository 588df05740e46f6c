"""Compare the networks that the baseline's training loop and this project's train -> benchmarks/results/equivalence.md

python benchmarks/equivalence.py                           a quarter of an hour on two cores; CIFAR-10 is needed
python benchmarks/equivalence.py --variants precision=bf16 "precision=bf16 compile=true"
python benchmarks/equivalence.py --training dataset=digits loss=focal

With the same weights, order, crops and flips the epochs' losses are compared; with everything drawn anew, the
accuracies over many seeds.
"""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.stats import ttest_ind
from torchvision.transforms import functional as crops

import baseline
import project
from baseline import Batches, PilImages
from oodbench.build import open_data
from oodbench.data.sets import DataSplits
from oodbench.evaluation.metrics import accuracy
from oodbench.model import Classifier, extract_features, predict
from oodbench.training.batches import sample_augmentation
from oodbench.training.device import available_precisions, disable_malloc_trim, pick_device
from oodbench.training.recipe import Recipe
from page import Section, argument_parser, write_page
from project import Overrides

TRAINING = ["dataset=cifar10", "dataset.limit=2560", "dataset.limit_test=5000", "backbone.width=16", "ood=[]"]
TRAINING += ["recipe=short", "recipe.epochs=4", "recipe.optimizer.lr=0.05"]
SMALL = ["dataset=digits", "dataset.limit=128", "dataset.limit_test=64", "backbone.width=4", "recipe=smoke"]
SMALL += ["ood=[]", "recipe.epochs=2", "recipe.batch_size=64"]


class Trained(NamedTuple):
    losses: list[float]  # the mean of every epoch, in nats
    accuracy: float


class Baseline(NamedTuple):
    """The baseline's training of one configuration."""

    overrides: Overrides
    sets: DataSplits

    def train(self, seed: int, same_draws: bool, nudge: float = 0.0) -> Trained:
        """nudge: every weight is multiplied by 1 +- so much before the first step."""
        model, recipe = baseline.build([*self.overrides, f"seed={seed}"])
        images, labels = self.sets.train.images, self.sets.train.labels
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1 + nudge * torch.randn_like(weight).sign())

        def epochs() -> Iterator[Batches]:
            for epoch in range(recipe.epochs):
                if same_draws:
                    yield drawn(model, recipe, self.sets, seed, epoch)
                else:
                    yield baseline.loader(model, recipe, images, labels, augment=True)

        losses = baseline.train(model, recipe, epochs(), steps=-(-len(labels) // recipe.batch_size))
        return Trained(losses, test_accuracy(model, self.sets))


def project_train(overrides: Overrides, sets: DataSplits, seed: int) -> Trained:
    model, recipe = project.build([*overrides, f"seed={seed}"])
    losses = project.train(model, recipe, sets.train.images, sets.train.labels, seed)
    return Trained(losses, test_accuracy(model, sets))


def test_accuracy(model: Classifier, sets: DataSplits) -> float:
    model.finalize(extract_features(model, sets.train.images), sets.train.labels)
    outputs = predict(model.objective, extract_features(model, sets.test.images), sets.test.labels)
    return accuracy(outputs.log_probs, outputs.labels)


def drawn(model: Classifier, recipe: Recipe, sets: DataSplits, seed: int, epoch: int) -> Batches:
    """Yield the batches that `fit` draws, cropped and flipped by torchvision from PIL images."""
    images, labels, padding = sets.train.images, sets.train.labels, recipe.crop_padding
    order, top, left, flip = sample_augmentation(seed, epoch, len(labels), padding, recipe.flip)
    transform = PilImages(images, labels, model, []).transform
    for rows in torch.arange(len(order)).split(recipe.batch_size):
        batch = []
        for i in rows.tolist():
            padded = crops.pad(Image.fromarray(images[order[i]]), [padding])
            image = crops.crop(padded, int(top[i]), int(left[i]), 32, 32)
            batch.append(transform(crops.hflip(image) if flip[i] else image))
        yield torch.stack(batch), torch.from_numpy(labels[order[rows].numpy()])


def losses(loop: Baseline, variants: Sequence[str], spread: float) -> Section:
    """spread: standard deviation of the last epoch's mean loss over seeds"""
    reference = loop.train(0, same_draws=True).losses
    others = {
        "baseline, every weight moved by 1e-7 of itself": loop.train(0, same_draws=True, nudge=1e-7).losses,
        "baseline, every weight moved by 1/512 of itself": loop.train(0, same_draws=True, nudge=2**-9).losses,
        "baseline, another seed": loop.train(1, same_draws=True).losses,
    }
    for variant in variants:
        others[variant] = project_train([*loop.overrides, *variant.split()], loop.sets, 0).losses
    rows = []
    for name, curve in others.items():
        gaps = np.subtract(curve, reference)
        within = "yes" if abs(gaps[-1]) <= 2 * np.sqrt(2) * spread else "no"  # both are one training
        rows.append([name, *(f"{gap:+.4f}" for gap in gaps), within])
    return Section(
        "The loss",
        "One seed; the same weights, order, crops and flips. Difference of each epoch's mean loss from the baseline's, "
        f"in nats. The last epoch's deviates by {spread:.4f} over the baseline's seeds below, so the difference of two "
        f"trainings by {np.sqrt(2) * spread:.4f}. Training is chaotic: the first two rows show what rounding as of "
        "float32 and of bf16 does to the baseline itself.",
        ["", *(f"epoch {i + 1}" for i in range(len(reference))), "last within 2 deviations"],
        rows,
    )


def accuracies(loop: Baseline, variants: Sequence[str], seeds: int) -> tuple[Section, float]:
    """Everything drawn anew; also the deviation of the baseline's last mean loss over the seeds"""
    runs = [loop.train(100 + seed, same_draws=False) for seed in range(seeds)]
    of_baseline = 100 * np.array([run.accuracy for run in runs])
    rows = [["baseline", f"{of_baseline.mean():.2f} ± {of_baseline.std(ddof=1):.2f}", "", ""]]
    for variant in variants:
        overrides = [*loop.overrides, *variant.split()]
        values = [100 * project_train(overrides, loop.sets, 200 + seed).accuracy for seed in range(seeds)]
        low, high = ttest_ind(values, of_baseline, equal_var=False).confidence_interval(0.95)
        difference = f"{np.mean(values) - of_baseline.mean():+.2f} ({low:+.2f} to {high:+.2f})"
        within = "yes" if low <= 0 <= high else "no"
        rows.append([variant, f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}", difference, within])
    section = Section(
        "The accuracy",
        f"Of {seeds} seeds each, none of them shared, everything drawn anew; mean and standard deviation in percent, "
        "the difference from the baseline with its 95 % interval (Welch's t).",
        ["", "accuracy", "difference", "0 within the interval"],
        rows,
    )
    return section, float(np.std([run.losses[-1] for run in runs], ddof=1))


def main() -> None:
    parser = argument_parser(__doc__, "equivalence.md")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--training", nargs="+", help="overrides for train.py: what is trained")
    parser.add_argument("--variants", nargs="+", help="overrides for train.py, a text a variant; default: precisions")
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"
    disable_malloc_trim()
    overrides = args.training or (SMALL if args.small else TRAINING)
    variants = args.variants or [f"precision={name}" for name in available_precisions(pick_device("auto"))]
    loop = Baseline(overrides, open_data(project.configuration(overrides)))
    of_accuracy, spread = accuracies(loop, variants, 2 if args.small else args.seeds)
    introduction = (
        f"`{' '.join(overrides)}`: {len(loop.sets.train.labels):,} training images, {len(loop.sets.test.labels):,} "
        "test images. Baseline: float32, NCHW, a DataLoader over PIL images. The other rows: this project's loop, with "
        "these overrides."
    )
    title = "What makes training fast leaves the networks as they are"
    write_page(args.output, title, introduction, [losses(loop, variants, spread), of_accuracy])


if __name__ == "__main__":
    main()
