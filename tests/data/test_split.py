"""Parts of a set: so many images of each class, or evenly spaced."""

import numpy as np
import pytest
from helpers.image_files import rows_of, split_of
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.data.split import balanced_subset, spaced_rows, spaced_subset


def test_balanced_subset_by_hand() -> None:
    split = split_of([2, 0, 0, 1, 2, 1, 0, 2, 1])
    assert rows_of(balanced_subset(split, 3, 3)) == [0, 1, 3]
    assert rows_of(balanced_subset(split, 5, 3)) == [0, 1, 2, 3, 5]  # two of classes 0 and 1
    assert rows_of(balanced_subset(split, 9, 3)) == list(range(9))


@given(st.lists(st.integers(0, 3), min_size=40, max_size=120), st.integers(4, 24))
@settings(max_examples=50, deadline=None)
def test_balanced_subset_takes_the_first_of_each_class(labels: list[int], n: int) -> None:
    available = np.bincount(labels, minlength=4)
    shares = np.array([n // 4 + (k < n % 4) for k in range(4)])
    if (available < shares).any():
        with pytest.raises(ValueError, match=f"limit of {n} images"):
            balanced_subset(split_of(labels), n, 4)
        return
    part = balanced_subset(split_of(labels), n, 4)
    assert np.array_equal(np.bincount(part.labels, minlength=4), shares)
    for k, share in enumerate(shares):
        of_class = [row for row, label in enumerate(labels) if label == k]
        assert [row for row in rows_of(part) if labels[row] == k] == of_class[:share]
    assert rows_of(part) == sorted(rows_of(part))


def test_balanced_subset_says_the_numbers() -> None:
    with pytest.raises(ValueError, match=r"limit of 2 images .* 3 classes"):
        balanced_subset(split_of([0, 1, 2]), 2, 3)
    with pytest.raises(ValueError, match="limit of 5 images takes 2 of class 1, which has 1"):
        balanced_subset(split_of([0, 0, 0, 1, 2]), 5, 3)


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 60))
def test_spaced_rows_are_distinct_and_evenly_apart(available: int, n: int) -> None:
    rows = spaced_rows(available, n)
    assert len(rows) == min(n, available)
    assert all(0 <= row < available for row in rows)
    gaps = np.diff([*rows, available]) if available else np.array([])
    assert gaps.size == 0 or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)
    assert not len(rows) or rows[0] == 0


def test_a_spaced_subset_keeps_digest_and_classes() -> None:
    split = split_of([3, 1, 4, 1, 5, 9], "pi")._replace(classes=("a", "b"))
    part = spaced_subset(split, 3)
    assert (rows_of(part), part.labels.tolist()) == ([0, 2, 4], [3, 4, 5])
    assert (part.digest, part.classes) == (split.digest, split.classes)
    assert spaced_subset(split, 6) is split
