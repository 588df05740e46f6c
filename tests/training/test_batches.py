"""Crop, flip and normalisation against torchvision on PIL images, bit for bit; the random choices of an epoch."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import RECIPE
from PIL import Image
from torchvision.transforms import functional as tv

from oodbench.model import normalise
from oodbench.training.batches import (
    Augmentation,
    TrainingSet,
    batch,
    crop_and_flip,
    derive_seed,
    sample_augmentation,
    seed_generators,
    to_device_padded,
)

CPU = torch.device("cpu")
IMAGES = np.random.default_rng(0).integers(256, size=(3, 32, 32, 3), dtype=np.uint8)
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]


def by_torchvision(image: np.ndarray, top: int, left: int, flip: bool, padding: int) -> torch.Tensor:
    picture = tv.crop(tv.pad(Image.fromarray(image), padding), top, left, 32, 32)
    return tv.normalize(tv.to_tensor(tv.hflip(picture) if flip else picture), MEAN, STD)


@pytest.mark.parametrize("padding", [4, 0])
def test_every_crop_and_flip_equals_torchvisions(padding: int) -> None:
    offsets = range(2 * padding + 1)
    every = list(product(range(len(IMAGES)), offsets, offsets, (False, True)))
    columns = [torch.tensor(column) for column in zip(*every, strict=True)]
    ours = normalise(
        crop_and_flip(to_device_padded(IMAGES, padding, CPU), *columns), torch.tensor(MEAN), torch.tensor(STD)
    )
    theirs = torch.stack([by_torchvision(IMAGES[i], top, left, flip, padding) for i, top, left, flip in every])
    assert torch.equal(ours, theirs)


def test_images_stay_uint8_and_channels_last() -> None:
    x = crop_and_flip(
        to_device_padded(IMAGES, 4, CPU), torch.arange(3), *torch.zeros(2, 3).long(), torch.zeros(3).bool()
    )
    assert x.dtype == torch.uint8
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert normalise(x, torch.zeros(3), torch.ones(3)).is_contiguous(memory_format=torch.channels_last)


def test_padded_images_are_a_copy_with_black_around() -> None:
    locked = IMAGES.copy()
    locked.flags.writeable = False  # as a memory map is
    padded = to_device_padded(locked, 4, CPU)
    assert padded.shape == (3, 40, 40, 3)
    assert torch.equal(padded[:, 4:-4, 4:-4], torch.from_numpy(IMAGES))
    assert padded.long().sum() == IMAGES.sum(dtype=np.int64)


def equal(a: Augmentation, b: Augmentation) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_epoch_depends_on_seed_and_epoch_alone() -> None:
    first = sample_augmentation(3, 7, 500, 4, True)
    torch.manual_seed(99)
    assert equal(first, sample_augmentation(3, 7, 500, 4, True))
    for seed, epoch in ((3, 8), (4, 7), (7, 3)):
        other = sample_augmentation(seed, epoch, 500, 4, True)
        assert not any(torch.equal(x, y) for x, y in zip(first, other, strict=True))


def test_sampling_leaves_the_global_generator_alone() -> None:
    state = torch.get_rng_state()
    sample_augmentation(0, 0, 100, 4, True)
    assert torch.equal(state, torch.get_rng_state())


def test_no_two_epochs_of_ten_seeds_share_a_generator() -> None:
    assert len({derive_seed(seed, epoch) for seed in range(10) for epoch in range(200)}) == 2000


def test_the_order_is_a_permutation() -> None:
    order = sample_augmentation(0, 0, 1234, 4, True).order
    assert torch.equal(order.sort().values, torch.arange(1234))
    assert not torch.equal(order, torch.arange(1234))


def test_crops_are_uniform_and_half_are_flipped() -> None:
    n = 81_000
    epoch = sample_augmentation(0, 0, n, 4, True)
    counts = torch.bincount(epoch.top * 9 + epoch.left, minlength=81)
    assert counts.shape == (81,)
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()  # five standard deviations
    for part in (epoch.flip, epoch.flip[epoch.top == 0], epoch.flip[epoch.left == 8]):
        assert abs(part.double().mean() - 0.5) < 2.5 / len(part) ** 0.5


def test_without_flip_and_padding_images_are_unchanged() -> None:
    epoch = sample_augmentation(5, 1, 3, 0, False)
    assert not epoch.flip.any()
    x, y = batch(to_device_padded(IMAGES, 0, CPU), torch.arange(3), epoch, torch.tensor([2, 0]))
    assert torch.equal(x, torch.from_numpy(IMAGES).permute(0, 3, 1, 2)[y])
    assert torch.equal(y, epoch.order[[2, 0]])


def test_switching_flips_off_changes_nothing_else() -> None:
    assert equal(
        sample_augmentation(0, 0, 50, 4, True)._replace(flip=torch.zeros(50).bool()),
        sample_augmentation(0, 0, 50, 4, False),
    )


def test_batches_show_every_image_once_with_its_label() -> None:
    n = 50
    images = np.zeros((n, 32, 32, 3), dtype=np.uint8) + np.arange(n, dtype=np.uint8)[:, None, None, None]
    epoch = sample_augmentation(0, 0, n, 0, True)
    padded, labels = to_device_padded(images, 0, CPU), torch.arange(n) * 2
    seen = [batch(padded, labels, epoch, rows) for rows in torch.arange(n).split(16)]
    assert [len(y) for _, y in seen] == [16, 16, 16, 2]
    shown = torch.cat([x[:, 0, 0, 0] for x, _ in seen]).long()
    assert torch.equal(shown, epoch.order)
    assert torch.equal(torch.cat([y for _, y in seen]), 2 * shown)


def training_set(epochs: int = 3) -> TrainingSet:
    recipe = replace(RECIPE, epochs=epochs, batch_size=16)
    return TrainingSet(np.repeat(IMAGES, 17, 0)[:50], np.arange(50), recipe, 5, CPU)


def test_a_set_holds_the_choices_of_the_epoch_it_is_in() -> None:
    """In the same tensors, since a CUDA graph knows no others."""
    data = training_set()
    tables = list(data.choices)
    for epoch in range(3):
        assert list(data.epoch(epoch, 0)) == [0, 1, 2, 3]
        assert equal(data.choices, sample_augmentation(5, epoch, 50, 4, True))
    assert all(a is b for a, b in zip(tables, data.choices, strict=True))


def test_the_next_epoch_is_drawn_once_the_last_step_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def watched(seed: int, epoch: int, *rest: Any) -> Augmentation:
        drawn.append(epoch)
        return sample_augmentation(seed, epoch, *rest)

    monkeypatch.setattr("oodbench.training.batches.sample_augmentation", watched)
    data = training_set(epochs=2)
    for _ in data.epoch(0, 0):
        assert drawn == [0]
    assert drawn == [0, 1]
    list(data.epoch(1, 0))
    assert drawn == [0, 1]  # neither again, nor a third


@pytest.mark.parametrize("first", [0, 1, 3])
def test_an_epoch_may_begin_at_any_step(first: int) -> None:
    """Each step's random numbers are its own."""
    every = [(step, float(torch.rand(()))) for step in training_set().epoch(1, 0)]
    assert [(step, float(torch.rand(()))) for step in training_set().epoch(1, first)] == every[first:]
    assert len({number for _, number in every}) == 4


def test_generators_are_seeded_as_torch_does_it() -> None:
    torch.manual_seed(2**32 - 1)
    expected = torch.rand(3)
    seed_generators(2**32 - 1, CPU)
    assert torch.equal(torch.rand(3), expected)


def test_no_step_formats_the_call_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch.manual_seed does where CUDA has not been used yet."""
    monkeypatch.setattr("traceback.format_stack", pytest.fail)
    assert list(training_set().epoch(0, 0)) == [0, 1, 2, 3]


def test_reflected_padding_mirrors_the_image() -> None:
    padded = to_device_padded(IMAGES, 2, CPU, "reflect")
    assert padded.shape == (3, 36, 36, 3)
    inner = torch.from_numpy(IMAGES)
    assert torch.equal(padded[:, 2:-2, 2:-2], inner)
    for row, source in ((0, 2), (1, 1), (34, 30), (35, 29)):
        assert torch.equal(padded[:, row, 2:-2], inner[:, source])
        assert torch.equal(padded[:, 2:-2, row], inner[:, :, source])


def flipped(epoch: int, n: int = 1000) -> torch.Tensor:
    """The images, in the set's order, that "alternate" flips."""
    choices = sample_augmentation(3, epoch, n, 4, "alternate")
    return choices.flip[choices.order.argsort()]


def test_alternate_flips_each_image_every_other_epoch() -> None:
    first = flipped(0)
    assert abs(first.double().mean() - 0.5) < 2.5 / 1000**0.5  # half of them
    for epoch in range(1, 6):
        assert torch.equal(flipped(epoch), first ^ bool(epoch % 2))


def test_alternate_changes_neither_order_nor_crops() -> None:
    usual, alternate = (sample_augmentation(3, 1, 50, 4, flip) for flip in (True, "alternate"))
    assert equal(usual._replace(flip=alternate.flip), alternate)
