"""An OOD set that holds images of the training or test set is refused."""

import logging

import numpy as np
import pytest
from helpers.image_files import real, split_of
from hypothesis import given
from hypothesis import strategies as st

from oodbench import data
from oodbench.data.overlap import pixel_hashes, shared_rows
from oodbench.data.sets import Limits
from oodbench.data.split import Split


def random_split(n: int, seed: int) -> Split:
    images = np.random.default_rng(seed).integers(256, size=(n, 32, 32, 3), dtype=np.uint8)
    return Split(images, np.arange(n) % 2, f"digest {seed}", ())


TRAIN, TEST, FAR = random_split(40, 0), random_split(20, 1), random_split(2000, 2)


def with_copies(n: int, source: Split) -> Split:
    """FAR, the last n images replaced by the first n of `source`."""
    images = FAR.images.copy()
    images[len(images) - n :] = source.images[:n]
    return FAR._replace(images=images, digest=f"{n} copies")


@pytest.mark.parametrize(("source", "called"), [(TRAIN, "the training set"), (TEST, "the test set")])
def test_the_same_set_is_refused(source: Split, called: str) -> None:
    with pytest.raises(ValueError, match=f"OOD set far is the same set as {called} .*allow_overlap=true"):
        data.data_splits(TRAIN, TEST, {"far": source}, 2)


@pytest.mark.parametrize(("source", "called"), [(TRAIN, "the training set"), (TEST, "the test set")])
def test_copies_are_counted_and_an_example_is_given(source: Split, called: str) -> None:
    says = rf"3 of the 2000 images of the OOD set far are also in {called} \(for example row 1997 .* is row 0 of"
    with pytest.raises(ValueError, match=f"{says}.*allow_overlap=true"):
        data.data_splits(TRAIN, TEST, {"far": with_copies(3, source)}, 2)


def test_copies_are_found_outside_the_limits() -> None:
    with pytest.raises(ValueError, match="also in the training set"):
        data.data_splits(TRAIN, TEST, {"far": with_copies(20, TRAIN)}, 2, Limits(2, 2))


def test_one_in_a_thousand_is_logged_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        data.data_splits(TRAIN, TEST, {"far": with_copies(2, TEST)}, 2)
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "2 of the 2000 images" in caplog.text


def test_an_overlap_that_is_allowed_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    far = with_copies(20, TEST)
    sets = data.data_splits(TRAIN, TEST, {"far": far, "test2": TEST}, 2, allow_overlap=True)
    assert list(sets.ood) == ["far", "test2"]
    assert ["are also in" in record.message or "same set as" in record.message for record in caplog.records] == [
        False,  # of the few images of test2
        True,
        True,
    ]


def test_copies_within_a_set_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    rows = np.zeros(100, np.int64)
    data.data_splits(TRAIN, TEST, {"far": Split(FAR.images[rows], FAR.labels[rows], "copies", ())}, 2)
    assert "99 of the 100 images of OOD set far repeat others" in caplog.text
    caplog.clear()
    blank = np.concatenate([np.zeros_like(FAR.images[:50]), FAR.images[:50]])
    data.data_splits(TRAIN, TEST, {"far": Split(blank, FAR.labels[:100], "blank", ())}, 2)
    assert caplog.text == ""


def test_images_of_one_colour_are_not_counted() -> None:
    blank = np.zeros((20, 32, 32, 3), np.uint8)
    blank[10:] = (3, 200, 7)
    train, far = (split._replace(images=np.concatenate([split.images[20:40], blank])) for split in (TRAIN, FAR))
    train, far = train._replace(labels=np.arange(40) % 2), far._replace(labels=np.full(40, -1))
    assert len(data.data_splits(train, TEST, {"far": far}, 2).ood["far"].images) == 40


def test_the_validation_ood_set_is_compared_too() -> None:
    with pytest.raises(ValueError, match="the validation OOD set are also in the test set"):
        data.data_splits(TRAIN, TEST, {}, 2, Limits(held_out=4), with_copies(3, TEST))
    with pytest.raises(ValueError, match="the validation OOD set are also in the OOD set far"):
        data.data_splits(TRAIN, TEST, {"far": FAR}, 2, Limits(held_out=4), with_copies(0, TEST))


def test_testing_on_the_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="the test set is the same set as the training set"):
        data.data_splits(TRAIN, TRAIN, {}, 2)
    assert data.data_splits(TRAIN, TRAIN, {}, 2, allow_overlap=True).test is TRAIN


def test_testing_on_training_images_is_refused() -> None:
    part = TRAIN._replace(images=TRAIN.images[:-1], labels=TRAIN.labels[:-1], digest="of a part")
    with pytest.raises(ValueError, match="39 of the 39 images of the test set are also in the training set"):
        data.data_splits(TRAIN, part, {}, 2)
    few, more = (with_copies(n, TRAIN)._replace(labels=np.arange(2000) % 2) for n in (10, 11))
    assert data.data_splits(TRAIN, few, {}, 2).test is few  # 0.5 %
    with pytest.raises(ValueError, match="11 of the 2000 images of the test set"):
        data.data_splits(TRAIN, more, {}, 2)


@given(st.lists(st.integers(0, 30), max_size=30), st.lists(st.integers(0, 30), max_size=30))
def test_shared_rows_are_those_of_a_plain_comparison(rows: list[int], others: list[int]) -> None:
    images, other_images = TRAIN.images[rows], TRAIN.images[others]
    found = shared_rows(images, other_images, pixel_hashes(images), pixel_hashes(other_images))
    assert [row for row, _ in found] == [i for i, row in enumerate(rows) if row in others]
    assert all(rows[row] == others[copy] for row, copy in found)


def test_equal_hashes_alone_are_no_overlap() -> None:
    same = np.zeros(20, np.uint64)
    assert shared_rows(TEST.images, FAR.images[:20], same, same) == []


@given(st.integers(0, 32 * 32 * 3 - 1), st.integers(1, 255))
def test_every_byte_counts_in_the_hash(position: int, change: int) -> None:
    image = TRAIN.images[:1].copy()
    before = pixel_hashes(image)
    image.reshape(-1)[position] ^= change
    assert pixel_hashes(image) != before


def test_images_that_differ_in_one_pixel_have_other_hashes() -> None:
    assert len(set(pixel_hashes(split_of([0] * 200).images).tolist())) == 200


@pytest.mark.slow
def test_real_sets_share_three_images_at_most() -> None:
    """CIFAR-10's and CIFAR-100's published sets hold some of the same photographs."""
    root = real("cifar10")
    c10 = {split: data.cifar10(root, split) for split in ("train", "test")}
    far = {name: data.parquet(f"{name}/test.parquet", real(name)) for name in ("cifar100", "mnist", "tiny_imagenet")}
    shared = {
        (name, split): len(shared_rows(a.images, b.images, pixel_hashes(a.images), pixel_hashes(b.images)))
        for name, a in far.items()
        for split, b in c10.items()
    }
    expected = {("cifar100", "train"): 1, ("cifar100", "test"): 1}
    assert {key: count for key, count in shared.items() if count} == expected
    data.data_splits(c10["train"], c10["test"], far, 10)
