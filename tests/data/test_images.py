"""Images of every kind become 32x32 RGB by the rules that oodbench.data.images states."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, picture, write_parquet
from PIL import Image
from torchvision import transforms

from oodbench import data
from oodbench.data.images import resize_and_crop

pytestmark = pytest.mark.usefixtures("cache_folder")


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (33, 32), (32, 40), (20, 28), (500, 333), (32, 32)])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "CMYK", "LA"])
def test_square_is_the_field_s_rule(mode: str, size: tuple[int, int]) -> None:
    image = picture(mode, *size)
    rule = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(32)])
    assert np.array_equal(resize_and_crop(image), np.asarray(rule(image.convert("RGB"))))


def test_square_by_hand() -> None:
    image = picture("RGB", 64, 48)
    expected = image.resize((42, 32), Image.Resampling.BILINEAR).crop((5, 0, 37, 32))
    assert np.array_equal(resize_and_crop(image), np.asarray(expected))
    assert np.array_equal(resize_and_crop(Image.fromarray(IMAGES[0])), IMAGES[0])
    checkers = Image.fromarray(np.indices((320, 320)).sum(0).astype(np.uint8) % 2 * 255)
    assert (
        np.ptp(resize_and_crop(checkers)[2:-2, 2:-2]) < 16
    )  # antialiased: even grey, where sampling gives black or white


def test_sixteen_bit_grey_is_not_clipped_to_white() -> None:
    grey = np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64
    assert np.array_equal(resize_and_crop(Image.fromarray(grey))[..., 1], (grey >> 8).astype(np.uint8))


def test_parquet_of_every_encoding(tmp_path: Path) -> None:
    kinds: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture("L", 28, 28), "PNG", {}),
        (picture("RGB", 64, 48), "JPEG", {"quality": 90}),
        (picture("RGB", 32, 32), "WEBP", {"lossless": True}),
        (picture("RGBA", 50, 40), "PNG", {}),
        (picture("P", 40, 50), "GIF", {}),
        (picture("RGB", 640, 480), "PNG", {}),
    ]
    files = [encoded(image, format, **options) for image, format, options in kinds]
    split = data.parquet(write_parquet(tmp_path / "a.parquet", list(files)))
    for image, file in zip(split.images, files, strict=True):
        assert np.array_equal(image, resize_and_crop(Image.open(io.BytesIO(file))))
    assert np.array_equal(split.images[2], np.asarray(kinds[2][0]))
