"""The number of threads of a training on a CPU, which other processes may need, too.

Threads of one training wait for one another at every step. Beside other processes, or in a container that may use fewer
cores than it sees, fewer of them are faster, so they are timed before the first step.
"""

import time
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray

from oodbench.model import Classifier
from oodbench.training.device import THREADS, use_threads

GAIN = 1.1  # fewer threads have to be so much faster: two idle cores then gave one number, and one set of weights
PASSES = 2  # that are timed with each number of threads, after one that finds the algorithms
SHARE = 100  # a pass takes at most one in so many of a training's images: on two cores the six cost 6 % of a short one
SMALLEST = 16  # images; fewer tell little


def choose_threads(model: Classifier, images: NDArray[np.uint8], batch_size: int, epochs: int) -> int:
    """Return the number of threads that now trains the model fastest on (N, 32, 32, 3) images.

    The model and the random numbers to come stay as they are; torch is left with another number of threads.
    """
    if THREADS == 1:
        return 1
    size = min(batch_size, max(SMALLEST, len(images) * epochs // SHARE))
    batch = torch.from_numpy(np.array(images[:size])).permute(0, 3, 1, 2)
    copied = deepcopy(model).train()

    def seconds(threads: int) -> float:
        use_threads(threads)
        _pass(copied, batch)
        start = time.perf_counter()
        for _ in range(PASSES):
            _pass(copied, batch)
        return time.perf_counter() - start

    with torch.random.fork_rng(devices=[]):  # dropout draws
        return fastest(seconds, THREADS)


def _pass(model: Classifier, images: torch.Tensor) -> None:
    model.features(images).square().mean().backward()


def fastest(seconds: Callable[[int], float], most: int) -> int:
    """Return the largest of `ladder(most)` that takes at most GAIN times as long as the fastest.

    From `most` on down, until one takes longer than that; those below it are not tried.
    """
    took: dict[int, float] = {}
    for threads in ladder(most):
        took[threads] = seconds(threads)
        if took[threads] > GAIN * min(took.values()):
            break
    return max(threads for threads in took if took[threads] <= GAIN * min(took.values()))


def ladder(most: int) -> list[int]:
    """Return `most`, three quarters of it, half of it, three eighths of it and so on down to 1."""
    rungs = {parts * most >> shift for shift in range(2, most.bit_length() + 2) for parts in (4, 3)}
    return sorted(rungs - {0}, reverse=True)
