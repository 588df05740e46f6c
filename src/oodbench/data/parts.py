"""The parts of 1,000 and 9,000 images into which OpenOOD v1.5 cuts the test sets of CIFAR-10 and CIFAR-100.

openood_1000, openood_9000   by the lists of OpenOOD v1.5, which must be on disk: see `openood`
own_1000, own_9000           by a fixed rule of this project: other images, so numbers that are near OpenOOD's own
                             and not equal to them
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np

from oodbench.data.imglist import openood
from oodbench.data.split import Split

LISTS = {"openood_1000": "val", "openood_9000": "test"}
OWN = ("own_1000", "own_9000")
PARTS = (*LISTS, *OWN)


def part_of_test(root: str | Path, name: str, part: str, read_test: Callable[[], Split]) -> Split:
    """Return one of PARTS of the test set called `name`; read_test: the whole test set."""
    return openood(root, f"{name}/{LISTS[part]}_{name}.txt") if part in LISTS else own_part(read_test(), part)


def own_part(test: Split, part: str) -> Split:
    """Return own_1000, a tenth of each class: the images whose pixels have the smallest sha256; or own_9000, the rest.

    The cut depends on the images alone and not on their order, which differs between archives and parquet files.
    """
    hashes = [sha256(image.tobytes()).digest() for image in test.images]
    order = np.array(sorted(range(len(hashes)), key=hashes.__getitem__))
    smallest = np.concatenate([rows[: len(rows) // 10] for rows in _by_class(test, order)])
    is_tenth = np.isin(np.arange(len(hashes)), smallest)
    rows = np.flatnonzero(is_tenth if part == OWN[0] else ~is_tenth)
    digest = sha256(f"{test.digest} {part}".encode()).hexdigest()
    return test._replace(images=test.images[rows], labels=test.labels[rows], digest=digest)


def _by_class(test: Split, order: "np.ndarray") -> list["np.ndarray"]:
    """Return the rows of each class, in the given order."""
    return [order[test.labels[order] == label] for label in np.unique(test.labels)]
