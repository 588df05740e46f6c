"""Number of classes, mean and deviation of a training set whose configuration does not state them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oodbench.data.images import BATCH
from oodbench.data.split import Split

STATISTICS = ("num_classes", "mean", "std")
DIGITS = 4  # behind the point, as published means and deviations have; a run's hash counts them


def statistics(train: Split) -> dict[str, Any]:
    """Return {"num_classes", "mean", "std"}: classes that are named or have an image; pixels in [0, 1], by channel.

    Raises ValueError for labels that are not known and for a channel that is the same in all pixels.
    """
    if len(train.labels) == 0 or train.labels.min() < 0:
        unknown = int((train.labels < 0).sum())
        raise ValueError(
            f"the training set has {unknown} of {len(train.labels)} images without a class: a "
            "parquet file needs an integer column `label` or `fine_label`, a folder one subfolder per class"
        )
    mean, std = mean_and_std(train.images)
    if min(std) == 0:
        raise ValueError(f"the training images' channels have the deviations {std}, of which none may be 0")
    return {"num_classes": len(train.classes) or int(train.labels.max()) + 1, "mean": mean, "std": std}


def mean_and_std(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    """(N, H, W, 3) -> mean and population deviation of each channel's pixels in [0, 1], from exact counts of values"""
    counts = np.zeros((3, 256), dtype=np.int64)
    for start in range(0, len(images), BATCH):
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + BATCH, ..., channel].ravel(), minlength=256)
    values, n = np.arange(256) / 255, counts[0].sum()
    mean = counts @ values / n
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(1) / n)
    return np.round(mean, DIGITS).tolist(), np.round(std, DIGITS).tolist()
