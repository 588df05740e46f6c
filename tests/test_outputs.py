"""Outputs of several sets, one set after the other."""

import numpy as np

from oodbench.outputs import Outputs, concatenate


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
