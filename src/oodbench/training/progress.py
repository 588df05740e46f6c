"""Progress of a training: a bar on a terminal, lines elsewhere, each with the time that is left."""

import sys
import time
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from oodbench.phrases import clock, duration
from oodbench.training.distributed import rank
from oodbench.training.means import Row
from oodbench.training.slowdown import Slowdown

PAUSE = 5.0  # s, between two lines of epochs


def progress_bar(total: int, done: int) -> "tqdm[Any]":
    """Return a bar over images; the first process alone shows one, and only on a terminal."""
    return tqdm(total=total, initial=done, unit="img", smoothing=0.05, disable=rank() > 0 or None)


def has_bar() -> bool:
    """Tell whether who reads the output sees the bar: standard output and error are a terminal."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def show_speed(images: int, speed: float) -> None:
    """Print, where there is no bar, how long `images` still to come take at `speed`, in images/s."""
    if rank() == 0 and not has_bar():
        print(f"{speed:.0f} images/s{left(images / speed)}", flush=True)


class ImageProgress:
    """Progress of one training in images: the bar, its first speed, a warning where it slows down."""

    def __init__(self, total: int, done: int) -> None:
        self.bar, self.slowdown, self.left = progress_bar(total, done), Slowdown(), total - done

    def add(self, images: int, text: str) -> None:
        """Count the images of a step; text: what stands before the bar."""
        self.left -= images
        self.bar.set_description(text, refresh=False)
        self.bar.update(images)
        if speed := self.slowdown.add(images, time.perf_counter()):
            show_speed(self.left, speed)


class EpochLines:
    """Prints one line per epoch, at most one in PAUSE seconds, where there is no bar."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.last = epochs, time.monotonic()

    def show(self, history: Sequence[Row]) -> None:
        """Print the last of the finished epochs' rows."""
        if not has_bar() and time.monotonic() - self.last >= PAUSE:
            self.last = time.monotonic()
            print(epoch_line(history, self.epochs), flush=True)


def epoch_line(history: Sequence[Row], epochs: int) -> str:
    """Return the numbers of the last epoch and how long the rest takes."""
    row = history[-1]
    took = f"{row['seconds']:.1f} s" if row["seconds"] < 10 else duration(row["seconds"])
    numbers = f"loss {row['loss']:.3f}, accuracy {100 * row['accuracy']:.2f} %, {took}"
    return f"epoch {len(history)}/{epochs}: {numbers}{_after(history, epochs)}"


def resumed(history: Sequence[Row], step: int, epochs: int) -> str:
    """Return where a training continues, and how long the rest takes, as far as earlier epochs tell."""
    amid = f", step {step} of the next" * bool(step)
    return f"continues after epoch {len(history)} of {epochs}{amid}{_after(history, epochs)}"


def _after(history: Sequence[Row], epochs: int) -> str:
    """Say how long the other epochs take, if they are like the last three; "" where nothing is known or left."""
    last = [row["seconds"] for row in history[-3:]]
    return left(sum(last) / len(last) * (epochs - len(history))) if last and len(history) < epochs else ""


def left(rest: float) -> str:
    return f"; about {duration(rest)} left, until {clock(rest)}"
