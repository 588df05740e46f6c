"""The type that every reader returns, and parts of it."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1  # the label of an image whose class is not known; OOD sets only


class Split(NamedTuple):
    """The images and labels of one set."""

    images: NDArray[np.uint8]  # (N, S, S, 3), RGB, S = 32 if not asked for another; a memory map where cached
    labels: NDArray[np.int64]  # (N,); UNKNOWN only in OOD sets
    digest: str  # sha256 in hex of the file or files that the images were read from
    classes: tuple[str, ...]  # names in the order of the labels; empty where the source gives none


def balanced_subset(split: Split, n: int, num_classes: int, name: str = "set") -> Split:
    """Keep the first n / K images of each of the K classes, one more of the first n % K classes; in file order.

    Raises ValueError if n < K or a class has fewer images than its share.
    """
    return rows_of(split, balanced_rows(split.labels, n, num_classes, name))


def balanced_rows(labels: NDArray[np.int64], n: int, num_classes: int, name: str) -> NDArray[np.int64]:
    """Return the rows that `balanced_subset` keeps, in ascending order."""
    if n < num_classes:
        raise ValueError(f"{name}: a limit of {n} images leaves some of the {num_classes} classes without one")
    chosen = []
    for k in range(num_classes):
        rows = np.flatnonzero(labels == k)
        share = n // num_classes + (k < n % num_classes)
        if len(rows) < share:
            raise ValueError(
                f"{name}: a limit of {n} images takes {share} of class {k}, which has {len(rows)} "
                f"(the set has {len(labels)} images)"
            )
        chosen.append(rows[:share])
    return np.sort(np.concatenate(chosen))


def spaced_subset(split: Split, n: int) -> Split:
    """Keep n images evenly spaced in file order, or all where there are no more than n."""
    return split if n >= len(split.images) else rows_of(split, spaced_rows(len(split.images), n))


def spaced_rows(available: int, n: int) -> NDArray[np.int64]:
    """Return n rows of those available, evenly spaced from the first one on; all where there are no more than n."""
    n = min(n, available)
    return np.arange(n) * available // n


def rows_of(split: Split, rows: NDArray[np.int64]) -> Split:
    """Return the images and labels in these rows; the digest stays that of the source."""
    return split._replace(images=split.images[rows], labels=split.labels[rows])
