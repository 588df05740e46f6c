"""The sets that need no download."""

import numpy as np
import pytest
from helpers.config import ROOT
from omegaconf import OmegaConf
from PIL import Image

from oodbench import data
from oodbench.data.images import images_of

CONF = ROOT / "conf"

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_digits_split() -> None:
    train, test, unseen = data.digits("train"), data.digits("test"), data.unseen_digits()
    assert (len(train.images), len(test.images), len(unseen.images)) == (1010, 433, 354)
    shares = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert shares == pytest.approx(np.full(8, 0.3), abs=0.01)
    assert train.classes == tuple("01234567")
    sets = [{image.tobytes() for image in split.images} for split in (train, test, unseen)]
    assert len(set().union(*sets)) == sum(map(len, sets))
    assert data.digits("train").digest == train.digest != test.digest


def test_digits_pixels() -> None:
    from sklearn.datasets import load_digits

    source = load_digits()
    unseen = np.flatnonzero(source.target >= 8)
    grey = Image.fromarray(np.round(source.images[unseen[5]] * 255 / 16).astype(np.uint8))
    expected = np.asarray(grey.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    assert np.array_equal(data.unseen_digits().images[5], expected)


def test_digits_statistics_are_those_of_the_configuration() -> None:
    config = OmegaConf.load(CONF / "dataset/digits.yaml")
    pixels = data.digits("train").images.reshape(-1, 3) / 255
    assert pixels.mean(0) == pytest.approx(config.mean, abs=5e-5)
    assert pixels.std(0) == pytest.approx(config.std, abs=5e-5)


def test_inverted_digits_are_the_test_digits_inverted() -> None:
    assert np.array_equal(data.inverted_digits().images, 255 - data.digits("test").images)


@pytest.mark.parametrize("side", [32, 40])
def test_shuffled_digits_move_the_same_pixels(side: int) -> None:
    with images_of(side):
        test, mixed = data.digits("test").images, data.shuffled_digits().images
    block = side // 8

    def blocks(images: np.ndarray) -> list[list[bytes]]:
        corners = [(top, left) for top in range(0, side, block) for left in range(0, side, block)]
        return [[image[t : t + block, x : x + block].tobytes() for t, x in corners] for image in images[:20]]

    before, after = blocks(test), blocks(mixed)
    assert all(sorted(one) == sorted(other) for one, other in zip(before, after, strict=True))
    assert all(one != other for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("name", "size"), [("photo_patches", 320), ("noise", 500), ("inverted_digits", 433), ("shuffled_digits", 433)]
)
def test_far_sets_are_the_same_every_time(name: str, size: int) -> None:
    first, second = getattr(data, name)(), getattr(data, name)()
    assert first.images.shape == (size, 32, 32, 3)
    assert len({image.tobytes() for image in first.images}) == size
    assert set(first.labels) == {data.UNKNOWN}
    assert first.digest == second.digest
    assert np.array_equal(first.images, second.images)
