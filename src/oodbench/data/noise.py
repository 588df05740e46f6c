"""Images of noise, drawn at each start and always the same: far OOD to everything."""

from collections.abc import Callable
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from oodbench.data.images import BATCH, side
from oodbench.data.split import UNKNOWN, Split

SMALL = 500  # images of `noise`


def noise() -> Split:
    """Draw every value of every pixel uniformly from 0..255, independently: 500 images, for small sets."""
    return uniform_noise(SMALL)


def uniform_noise(images: int) -> Split:
    """Draw every value of every pixel uniformly from 0..255, independently (Liang et al., 2018)."""
    return _noise(images, lambda generator, shape: generator.integers(256, size=shape, dtype=np.uint8))


def gaussian_noise(images: int, mean: float, std: float) -> Split:
    """x = clip(N(mean, std^2), 0, 1), every value of every pixel independently (Liang et al., 2018); in 8 bits."""

    def draw(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        return np.rint(255 * generator.normal(mean, std, shape).clip(0, 1)).astype(np.uint8)

    return _noise(images, draw)


def _noise(images: int, draw: Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.uint8]]) -> Split:
    if images < 1:
        raise ValueError(f"{images} images of noise: at least one is needed")
    generator = np.random.default_rng(0)
    sizes = [min(BATCH, images - start) for start in range(0, images, BATCH)]
    pixels = np.concatenate([draw(generator, (size, side(), side(), 3)) for size in sizes])
    labels = np.full(images, UNKNOWN, dtype=np.int64)
    return Split(pixels, labels, sha256(pixels.tobytes() + labels.tobytes()).hexdigest(), ())
