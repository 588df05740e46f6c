"""The sets that need no download."""

import numpy as np
import pytest
from helpers.config import ROOT
from omegaconf import OmegaConf
from PIL import Image

from oodbench import data

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


@pytest.mark.parametrize(("name", "size"), [("photo_patches", 320), ("noise", 500)])
def test_far_sets_are_the_same_every_time(name: str, size: int) -> None:
    first, second = getattr(data, name)(), getattr(data, name)()
    assert first.images.shape == (size, 32, 32, 3)
    assert len({image.tobytes() for image in first.images}) == size
    assert set(first.labels) == {data.UNKNOWN}
    assert first.digest == second.digest
    assert np.array_equal(first.images, second.images)
