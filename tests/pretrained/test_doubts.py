"""Doubts about outputs of other code: labels in another order, one image in two sets."""

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from oodbench.outputs import Outputs
from oodbench.pretrained.arrays import from_arrays
from oodbench.pretrained.doubts import warn_of_doubts

N, D, K = 400, 16, 4


def outputs(seed: int, labels: NDArray[np.int64] | None = None, features: bool = True) -> Outputs:
    random = np.random.default_rng(seed)
    right = np.arange(N) % K
    logits = random.normal(size=(N, K)) + 5 * np.eye(K)[right]
    return from_arrays(logits, right if labels is None else labels, random.normal(size=(N, D)) if features else None)


def test_of_a_network_as_usual_there_is_no_doubt() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_doubts({"test": outputs(0), "train": outputs(1), "far": outputs(2)})


def test_labels_in_another_order_are_a_warning() -> None:
    """The network is as good on both sets; the labels of one are shuffled"""
    shuffled = np.random.default_rng(0).permutation(np.arange(N) % K)
    with pytest.warns(UserWarning, match=r"accuracy is \d+\.\d % on the training images and \d+\.\d % on the test"):
        warn_of_doubts({"test": outputs(0), "train": outputs(1, shuffled)})


def test_one_image_in_two_sets_is_a_warning() -> None:
    test, far = outputs(0), outputs(1)
    mixed = Outputs(*(np.concatenate([a[:4], b[4:]]) for a, b in zip(test, far, strict=True)))
    with pytest.warns(UserWarning, match=r"1\.0 % of the rows of far are in test, too"):
        warn_of_doubts({"test": test, "far": mixed})
    few = Outputs(*(np.concatenate([a[:2], b[2:]]) for a, b in zip(test, far, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_doubts({"test": test, "far": few})


def test_few_logits_may_be_the_same_by_chance() -> None:
    same = outputs(0, features=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_doubts({"test": same, "far": same})
