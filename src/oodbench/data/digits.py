"""Sets that need no download: scikit-learn's digits and photographs, and noise."""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from oodbench.data.images import SIDE, resize_and_crop
from oodbench.data.split import UNKNOWN, Split

LEARNT = 8  # classes 0..7 are learnt; 8 and 9 are held out as near OOD
TEST_SHARE = 0.3
PATCH = 40  # pixels: 160 patches of each 427x640 photograph, large enough to show structure
NOISE = 500  # images


def digits(split: str) -> Split:
    """The 8x8 handwritten digits 0..7 (Alpaydin and Kaynak, 1998), stratified into "train" (70 %) and "test"."""
    from sklearn.model_selection import train_test_split

    images, labels = _digits()
    learnt = np.flatnonzero(labels < LEARNT)
    train, test = train_test_split(learnt, test_size=TEST_SHARE, random_state=0, stratify=labels[learnt])
    rows = np.sort({"train": train, "test": test}[split])
    return _split(images[rows], labels[rows], tuple(str(k) for k in range(LEARNT)))


def unseen_digits() -> Split:
    """The digits 8 and 9, which no class of `digits` holds."""
    images, labels = _digits()
    return _split(images[labels >= LEARNT])


def photo_patches() -> Split:
    """Patches of scikit-learn's two photographs, a temple and a flower, that do not overlap."""
    from sklearn.datasets import load_sample_images

    patches = [
        resize_and_crop(Image.fromarray(photo[top : top + PATCH, left : left + PATCH]))
        for photo in load_sample_images().images
        for top in range(0, photo.shape[0] - PATCH + 1, PATCH)
        for left in range(0, photo.shape[1] - PATCH + 1, PATCH)
    ]
    return _split(np.stack(patches))


def noise() -> Split:
    """Every value of every pixel uniform in 0..255, independently."""
    return _split(np.random.default_rng(0).integers(256, size=(NOISE, SIDE, SIDE, 3), dtype=np.uint8))


def _digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All 1797 digits: (N, 32, 32, 3), (N,)"""
    from sklearn.datasets import load_digits

    source = load_digits()
    grey = np.rint(source.images * (255 / 16)).astype(np.uint8)  # the source counts 0..16
    images = [resize_and_crop(Image.fromarray(image)) for image in grey]
    return np.stack(images), source.target.astype(np.int64)


def _split(images: NDArray[np.uint8], labels: NDArray[np.int64] | None = None, classes: tuple[str, ...] = ()) -> Split:
    if labels is None:
        labels = np.full(len(images), UNKNOWN, dtype=np.int64)
    digest = sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Split(images, labels, digest, classes)
