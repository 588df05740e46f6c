"""A warning when a training becomes much slower than it was at its start."""

import warnings

import torch

from oodbench.training.distributed import rank

WINDOW = 10.0  # s, at least; a window ends with a step
FRACTION = 1 / 3  # of the first window's speed; beside one other process two threads keep two fifths of it
REASON = "other processes may need the same cores or GPU"
ADVICE = (
    ". Threads of one training wait for one another at every step, so that beside other work threads=1 can be the "
    "fastest; the same command continues with it"
)


class Slowdown:
    """Warns once, when two windows in a row have less than FRACTION of the speed of the first.

    The first window begins after the first step, which may compile and look for the fastest convolutions. One slow
    window alone is no reason: it may hold a checkpoint, or a machine that slept.
    """

    def __init__(self) -> None:
        self.since: float | None = None  # s, the start of this window
        self.images, self.first, self.slow = 0, 0.0, 0

    def add(self, images: int, now: float) -> float | None:
        """Count the images of a step that ended `now`, in seconds of any clock.

        Return the speed of the first window in images/s when it ends.
        """
        if self.since is None:
            self.since = now
            return None
        self.images += images
        if now - self.since < WINDOW:
            return None
        speed = self.images / (now - self.since)
        self.since, self.images = now, 0
        if not self.first:
            self.first = speed
            return speed
        if self.slow < 2:  # else it has warned
            self.slow = self.slow + 1 if speed < FRACTION * self.first else 0
            if self.slow == 2 and rank() == 0:
                words = f"training has slowed down from {self.first:.0f} to {speed:.0f} images/s: {REASON}"
                words += ADVICE if torch.get_num_threads() > 1 else ""
                warnings.warn(words, stacklevel=3)
        return None
