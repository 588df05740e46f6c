"""Encoded images of any size and mode -> (32, 32, 3) uint8 RGB, by the field's rule."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

SIDE = 32
BATCH = 500
# Threads pay only for large images: on two cores they decode 480x640 JPEG 2.0 times faster than one thread,
# but 32x32 WebP 1.6 times slower, because each image then mostly waits for the interpreter lock.
LARGE = 16 * 1024  # bytes of an encoded image


class Encoded(NamedTuple):
    data: bytes | Path | None  # a PNG, JPEG, WebP, ... file: what is in it, or where it is
    label: int
    where: str  # for the error message: the file, and the row in it


def resize_and_crop(image: Image.Image) -> NDArray[np.uint8]:
    """RGB, shorter side to 32 (bilinear with antialias), centre crop: (32, 32, 3).

    OpenOOD's order: the conversion comes first, so that a palette is never interpolated. An image that is 32x32 keeps
    every pixel.
    """
    if image.mode.startswith("I"):  # 16-bit grey; PIL's own conversion would clip it to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    if image.size != (SIDE, SIDE):
        from torchvision.transforms import InterpolationMode, functional

        image = functional.center_crop(functional.resize(image, SIDE, InterpolationMode.BILINEAR), [SIDE, SIDE])
    return np.asarray(image)


def decode(encoded: Encoded) -> NDArray[np.uint8]:
    """-> (32, 32, 3). Raises ValueError, with the place, if the image does not decode."""
    if encoded.data is None:
        raise ValueError(f"{encoded.where}: no image bytes")
    try:
        with Image.open(io.BytesIO(encoded.data) if isinstance(encoded.data, bytes) else encoded.data) as image:
            return resize_and_crop(image)
    except Exception as error:  # PIL's decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise ValueError(f"{encoded.where}: the image does not decode ({error})") from error


def decoded(encoded: Iterable[Encoded], count: int, name: str) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Batches of images (B, 32, 32, 3) and labels (B,), in order, with a progress bar of `count` images."""
    rows = iter(encoded)
    with ThreadPoolExecutor() as pool, tqdm(total=count, desc=f"decoding {name}", unit="img", disable=None) as bar:
        while batch := list(islice(rows, BATCH)):
            large = sum(map(_size, batch)) > LARGE * len(batch)
            images = np.stack(list((pool.map if large else map)(decode, batch)))
            yield images, np.array([row.label for row in batch], dtype=np.int64)
            bar.update(len(batch))


def _size(encoded: Encoded) -> int:
    """In bytes"""
    return encoded.data.stat().st_size if isinstance(encoded.data, Path) else len(encoded.data or b"")
