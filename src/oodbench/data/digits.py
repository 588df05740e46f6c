"""Sets that need no download: scikit-learn's digits and photographs.

scikit-learn is imported inside the functions: it takes a second, for which other sets and the report do not wait.
"""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oodbench.data.images import resize_and_crop, resized, side
from oodbench.data.split import UNKNOWN, Split

ID_CLASSES = 8  # the classes 0..7 are in-distribution; 8 and 9 are near OOD
TEST_SHARE = 0.3
BLOCKS = 8  # along a side: the digits are 8x8 pixels, resized; every side is a multiple of 8
PATCH = 40  # pixels: 160 patches of each 427x640 photograph, large enough to show structure


def digits(split: str) -> Split:
    """Read the 8x8 handwritten digits 0..7 (Alpaydin and Kaynak, 1998), stratified into "train" (70 %) and "test"."""
    from sklearn.model_selection import train_test_split

    if split not in ("train", "test"):
        raise ValueError(f"digits has no split {split}; available: train, test")
    images, labels = _digits()
    in_distribution = np.flatnonzero(labels < ID_CLASSES)
    train, test = train_test_split(
        in_distribution, test_size=TEST_SHARE, random_state=0, stratify=labels[in_distribution]
    )
    rows = np.sort({"train": train, "test": test}[split])
    return _split(images[rows], labels[rows], tuple(str(k) for k in range(ID_CLASSES)))


def unseen_digits() -> Split:
    """Read the digits 8 and 9, which no class of `digits` holds."""
    images, labels = _digits()
    return _split(images[labels >= ID_CLASSES])


def inverted_digits() -> Split:
    """Invert the test digits, dark on light: the shapes that were learned, in other grey values."""
    return _split(255 - digits("test").images)


def shuffled_digits() -> Split:
    """Shuffle the 8x8 pixels of each test digit, all in one way: the grey values that were learned, no shape."""
    images = digits("test").images
    block = side() // BLOCKS
    grid = images.reshape(len(images), BLOCKS, block, BLOCKS, block, 3).swapaxes(2, 3)
    flat = grid.reshape(len(images), BLOCKS**2, block, block, 3)
    mixed = flat[:, np.random.default_rng(0).permutation(BLOCKS**2)].reshape(grid.shape)
    return _split(np.ascontiguousarray(mixed.swapaxes(2, 3).reshape(images.shape)))


def photo_patches() -> Split:
    """Cut scikit-learn's two photographs, a temple and a flower, into patches that do not overlap."""
    from sklearn.datasets import load_sample_images

    patches = [
        resize_and_crop(Image.fromarray(photo[top : top + PATCH, left : left + PATCH]), side())
        for photo in load_sample_images().images
        for top in range(0, photo.shape[0] - PATCH + 1, PATCH)
        for left in range(0, photo.shape[1] - PATCH + 1, PATCH)
    ]
    return _split(np.stack(patches))


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read all 1797 digits: (N, S, S, 3), (N,)."""
    from sklearn.datasets import load_digits

    source = load_digits()
    grey = np.rint(source.images * (255 / 16)).astype(np.uint8)  # the source counts 0..16
    return resized(grey), source.target.astype(np.int64)


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64] | None = None, classes: tuple[str, ...] = ()) -> Split:
    if labels is None:
        labels = np.full(len(images), UNKNOWN, dtype=np.int64)
    digest = sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Split(images, labels, digest, classes)
