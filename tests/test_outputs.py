"""Outputs of several sets, one set after the other."""

from typing import Any

import numpy as np
import pytest

from oodbench.outputs import Outputs, concatenate, problem_of


def outputs(*labels: int) -> Outputs:
    y = np.array(labels)
    features = y[:, None].astype("f4") * np.ones(3, "f4")
    return Outputs(features, features[:, :2], features[:, :2].astype("f8"), y.astype("f8"), y)


def test_the_images_of_all_sets_keep_their_order_and_types() -> None:
    sets = outputs(3, 1), outputs(2), outputs(5, 4)
    both = concatenate(iter(sets))
    for ours, expected in zip(both, outputs(3, 1, 2, 5, 4), strict=True):
        np.testing.assert_array_equal(ours, expected)
        assert ours.dtype == expected.dtype


GOOD = {
    "features": np.zeros((4, 3), "f4"),
    "logits": np.zeros((4, 2), "f4"),
    "log_probs": np.zeros((4, 2)),
    "ood_score": np.zeros(4),
    "labels": np.array([0, 1, 1, 0]),
}


def test_what_a_network_gives_has_no_problem() -> None:
    assert problem_of(Outputs(**GOOD), of_classes=True) == ""


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("features", np.zeros(4, "f4"), "shapes"),
        ("logits", np.zeros((3, 2), "f4"), "shapes"),
        ("log_probs", np.zeros((4, 0)), "shapes"),
        ("log_probs", np.zeros((4, 3)), "logits of 2 classes and probabilities of 3"),
        ("labels", np.zeros((4, 1), int), "shapes"),
        ("labels", np.zeros(4), "types"),
        ("ood_score", np.zeros(4, int), "types"),
        ("labels", np.array([0, 1, 2, 0]), "labels other than those of 2 classes"),
        ("labels", np.array([0, 1, -1, 0]), "labels other than those of 2 classes"),
    ],
)
def test_what_no_network_gives_is_told(name: str, array: Any, said: str) -> None:
    assert said in problem_of(Outputs(**{**GOOD, name: array}), of_classes=True)


def test_labels_of_an_ood_set_may_be_any() -> None:
    assert problem_of(Outputs(**{**GOOD, "labels": np.array([-1, 7, 99, 3])}), of_classes=False) == ""
