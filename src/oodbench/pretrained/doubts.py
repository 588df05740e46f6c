"""Doubts about outputs that other code has made: what is possible, and yet more likely a mistake in writing them."""

import warnings
from collections.abc import Iterator, Mapping

import numpy as np

from oodbench.data.overlap import MAX_OF_TEST
from oodbench.outputs import Outputs
from oodbench.pretrained.arrays import LogitsAlone

LOWER = 0.1  # accuracy on training images below that on test images
LONG = 8  # numbers: of a shorter row two images may have the same by chance


def warn_of_doubts(sets: Mapping[str, Outputs]) -> None:
    """Warn of labels that do not belong to their rows, and of one image's outputs in two sets.

    sets: {name: outputs}, with "test" and "train" where there are training images.
    """
    for doubt in [*_order(sets), *_shared(sets)]:
        warnings.warn(doubt, stacklevel=3)


def _order(sets: Mapping[str, Outputs]) -> Iterator[str]:
    if "train" not in sets:
        return
    train, test = (float(np.mean(sets[name].log_probs.argmax(1) == sets[name].labels)) for name in ("train", "test"))
    if train < test - LOWER:
        yield (
            f"accuracy is {100 * train:.1f} % on the training images and {100 * test:.1f} % on the test images: are "
            "the labels of train in the order of its rows?"
        )


def _shared(sets: Mapping[str, Outputs]) -> Iterator[str]:
    seen: dict[str, set[int]] = {}
    for name, outputs in sets.items():
        rows = _hashes(outputs)
        for other, known in seen.items():
            share = sum(row in known for row in rows) / max(len(rows), 1)
            if share > MAX_OF_TEST:  # rows stand for images here
                yield f"{100 * share:.1f} % of the rows of {name} are in {other}, too: are these other images?"
        seen[name] = set(rows)


def _hashes(outputs: Outputs) -> list[int]:
    """Return a hash of 64 bits of each image's logits, of few classes of its features; none where both are short."""
    features = () if isinstance(outputs, LogitsAlone) else (outputs.features,)
    long = [array for array in (outputs.logits, *features) if array.shape[1] >= LONG]
    return [hash(row.tobytes()) for row in long[0]] if long else []
