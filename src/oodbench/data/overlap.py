"""Images that a set shares with the sets that it is compared with: exact copies after decoding.

A copy in an OOD set is in-distribution, so a detector that accepts it is right, and counted as wrong. One copy among N
OOD images moves AUROC, and FPR@95 (95 % of ID accepted), by at most 1/N. Published sets have some: CIFAR-10's two sets
share three images with CIFAR-100's, and of CIFAR-100's 10,000 test images ten are training images, of CIFAR-10's none.
So a single copy is no reason to stop.
"""

import logging
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from oodbench.data.split import Split

MAX_OF_OOD = 0.001  # share of an OOD set's images: moves a number by at most 0.1 points of percent
MAX_OF_TEST = 0.005  # share of a test set's images that are in the training set: five times CIFAR-100's
MAX_REPEATED = 0.01  # share of a set's images that repeat an earlier one in it
BLOCK = 500  # images hashed at a time, so that they stay in the processor's cache

log = logging.getLogger(__name__)


def check_overlap(known: Mapping[str, Split], others: Mapping[str, Split], allow: bool, max_share: float) -> None:
    """Compare every set of `others` with every set of `known`; both are {how a message calls it: set}.

    Raises ValueError for one that is the same set or shares more than `max_share` of its images, unless `allow`; images
    of one colour are not counted. A smaller overlap is logged, and a larger one that is allowed.
    """
    known_hashes = {name: pixel_hashes(split.images) for name, split in known.items()}
    for name, split in others.items():
        hashes = pixel_hashes(split.images)
        for other, reference in known.items():
            if split.digest == reference.digest:
                _report(True, f"{name} is the same set as {other} (digest {split.digest[:12]})", allow)
            elif rows := shared_rows(split.images, reference.images, hashes, known_hashes[other]):
                row, copy = rows[0]
                text = (
                    f"{len(rows)} of the {len(split.images)} images of {name} are also in {other} "
                    f"(for example row {row} of {name} is row {copy} of {other})"
                )
                _report(len(rows) > max_share * len(split.images), text, allow)


def warn_of_copies(name: str, split: Split) -> None:
    """Log a warning where more than MAX_REPEATED of a set's images repeat others in it; blank ones are not counted."""
    hashes = pixel_hashes(split.images[~(split.images == split.images[:, :1, :1]).all((1, 2, 3))])
    repeated = len(hashes) - len(np.unique(hashes))
    if repeated > MAX_REPEATED * len(split.images):
        log.warning(
            "%d of the %d images of %s repeat others: its intervals are too narrow", repeated, len(split.images), name
        )


def _report(too_large: bool, text: str, allow: bool) -> None:
    if too_large and not allow:
        raise ValueError(f"{text}; leave it out, or remove the copies, or measure nevertheless with allow_overlap=true")
    log.log(logging.WARNING if too_large else logging.INFO, "%s", text)


def shared_rows(
    images: NDArray[np.uint8], others: NDArray[np.uint8], hashes: NDArray[np.uint64], other_hashes: NDArray[np.uint64]
) -> list[tuple[int, int]]:
    """Return (row of `images`, row of `others`) of every image that both hold, images of a single colour left out.

    Equal hashes are only candidates: pixels are compared, so that no collision counts.
    """
    if len(others) == 0:
        return []
    order = np.argsort(other_hashes, kind="stable")
    copies = order[np.searchsorted(other_hashes[order], hashes).clip(max=len(others) - 1)]
    candidates = np.flatnonzero(other_hashes[copies] == hashes)
    return [
        (int(row), int(copies[row]))
        for row in candidates
        if np.array_equal(images[row], others[copies[row]]) and not _is_blank(images[row])
    ]


def pixel_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """h = sum_i c_i (w_i xor (w_i >> 32)) mod 2^64 over the 64-bit words w of an image: (N, 32, 32, 3) -> (N,)

    The constants c are odd and random (multilinear hashing; Carter and Wegman, 1979). The shift makes the upper bits
    of a word count as much as the lower ones.
    """
    words = int(np.prod(images.shape[1:])) // 8
    constants = np.random.default_rng(0).integers(2**64, size=words, dtype=np.uint64) | np.uint64(1)
    hashes = np.empty(len(images), np.uint64)
    for start in range(0, len(images), BLOCK):
        block = np.ascontiguousarray(images[start : start + BLOCK])
        w = block.reshape(len(block), -1).view(np.uint64)
        hashes[start : start + BLOCK] = (w ^ (w >> np.uint64(32))) @ constants
    return hashes


def _is_blank(image: NDArray[np.uint8]) -> bool:
    """Return True for an image of one colour: black frames and the like occur in sets that are unrelated."""
    return bool((image == image[0, 0]).all())
