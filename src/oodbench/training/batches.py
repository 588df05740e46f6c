"""Batches on the device: images stay uint8 up to the network, crop and flip are one indexing operation.

Images are (N, H, W, 3): their permutation to (N, 3, H, W) is channels_last without a copy.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from oodbench.data.images import SIDE
from oodbench.training.distributed import rank
from oodbench.training.recipe import Recipe

ALL_EPOCHS = 2**32 - 1  # in the place of an epoch, for what is sampled once in a run


class Augmentation(NamedTuple):
    """The random choices of one epoch of N images."""

    order: Tensor  # (N,) a permutation
    top: Tensor  # (N,) first row of each crop, in 0 .. 2 padding
    left: Tensor  # (N,) first column
    flip: Tensor  # (N,) bool


def derive_seed(*numbers: int) -> int:
    """Derive a seed from the numbers of run, epoch and step, so that no generator's state is ever saved."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])


def sample_augmentation(seed: int, epoch: int, n: int, padding: int, flip: bool | str) -> Augmentation:
    """Sample the order, crops and flips of an epoch, on the CPU: the same on every device.

    flip: half of the images (True), none (False), or "alternate": half of them in the first epoch, then each image in
    every other epoch (Jordan, 2024, arXiv 2404.00498, section 3.6).
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
    order = torch.randperm(n, generator=generator)
    top, left = torch.randint(2 * padding + 1, (2, n), generator=generator)
    if flip == "alternate":
        of_run = torch.Generator().manual_seed(derive_seed(seed, ALL_EPOCHS))
        first = torch.rand(n, generator=of_run) < 0.5  # of each image, whatever the order
        return Augmentation(order, top, left, first[order] ^ bool(epoch % 2))
    return Augmentation(order, top, left, (torch.rand(n, generator=generator) < 0.5) & bool(flip))


def to_device_padded(images: NDArray[np.uint8], padding: int, device: torch.device, fill: str = "black") -> Tensor:
    """(N, 32, 32, 3) -> (N, 32 + 2 padding, 32 + 2 padding, 3) uint8 on the device; fill: black or reflect."""
    if fill == "black":
        return F.pad(torch.from_numpy(np.array(images)), (0, 0, padding, padding, padding, padding)).to(device)
    mirrored = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode="reflect")
    return torch.from_numpy(mirrored).to(device)


def crop_and_flip(padded: Tensor, index: Tensor, top: Tensor, left: Tensor, flip: Tensor, side: int = SIDE) -> Tensor:
    """(N, H, W, 3), four times (B,) -> (B, 3, side, side) uint8, channels_last.

    Equal to torchvision's crop at (top, left) and horizontal flip of the padded image, bit for bit.
    """
    offset = torch.arange(side, device=padded.device)
    rows = top[:, None] + offset
    columns = left[:, None] + torch.where(flip[:, None], side - 1 - offset, offset)
    return padded[index[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def batch(padded: Tensor, labels: Tensor, epoch: Augmentation, rows: Tensor, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Return the (B, 3, side, side) images and (B,) labels at the places `rows`, (B,), of the epoch's order.

    All tensors are on one device, the choices of the epoch included.
    """
    index, top, left, flip = (choices[rows] for choices in epoch)
    return crop_and_flip(padded, index, top, left, flip, side), labels[index]


class TrainingSet:
    """Images, labels and the choices of the current epoch on the device, in the same tensors for all epochs."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], recipe: Recipe, seed: int, device: torch.device
    ) -> None:
        self.device, self.recipe, self.seed, self.size, self.side = device, recipe, seed, len(labels), images.shape[1]
        self.padded = to_device_padded(images, recipe.crop_padding, device, recipe.crop_fill)
        self.labels = torch.from_numpy(np.array(labels)).to(device)
        self.steps = math.ceil(self.size / recipe.batch_size)
        places = torch.zeros(self.size, dtype=torch.int64, device=device)
        self.choices = Augmentation(places, places.clone(), places.clone(), places.bool())
        self.drawn: dict[int, Augmentation] = {}  # of the next epoch

    def epoch(self, epoch: int, first: int) -> Iterator[int]:
        """Yield the epoch's steps from `first` on.

        Before each step torch's generators are seeded, for dropout and the like, differently in every process. Seeds of
        steps begin at 1, since 0 would be the seed of sample_augmentation. The next epoch is drawn when the last step
        has been taken, while a GPU still computes.
        """
        choices = self.drawn.pop(epoch) if epoch in self.drawn else self.sample(epoch)
        for table, values in zip(self.choices, choices, strict=True):
            table.copy_(values)
        for step in range(first, self.steps):
            seed_generators(derive_seed(self.seed, epoch, step + 1) + rank(), self.device)
            yield step
        if epoch + 1 < self.recipe.epochs:
            self.drawn[epoch + 1] = self.sample(epoch + 1)

    def sample(self, epoch: int) -> Augmentation:
        return sample_augmentation(self.seed, epoch, self.size, self.recipe.crop_padding, self.recipe.flip)

    def batch(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (B, 3, 32, 32) images and (B,) labels at the places `rows`, (B,), of the epoch's order."""
        return batch(self.padded, self.labels, self.choices, rows, self.side)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed torch's generators of the CPU and the device, to the same bits as torch.manual_seed.

    That function formats the call stack twice, for devices that are not there: 300 us at every step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
