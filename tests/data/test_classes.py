"""Classes are left out by name or number."""

from typing import Any

import numpy as np
import pytest
from helpers.image_files import rows_of, split_of

from oodbench.data.classes import excluded_numbers, without_classes

SPLIT = split_of([0, 1, 2, -1, 1, 0])._replace(classes=("cat", "dog", "cat"))


@pytest.mark.parametrize(
    ("excluded", "rows"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        ([1], [0, 2, 3, 5]),
        (["dog"], [0, 2, 3, 5]),
        (["cat"], [1, 3, 4]),
        ([0, "dog"], [2, 3]),
    ],
    ids=str,
)
def test_the_other_images_stay_in_order(excluded: list[str | int], rows: list[int]) -> None:
    left = without_classes(SPLIT, excluded, "here")
    assert rows_of(left) == rows
    assert np.array_equal(left.labels, SPLIT.labels[rows])
    assert (left.digest == SPLIT.digest) == (not excluded)


def test_names_and_numbers_of_the_same_classes_are_one_set() -> None:
    digests = {without_classes(SPLIT, excluded, "here").digest for excluded in (["cat"], [2, 0], [0, 2, 2], ["cat", 0])}
    assert len(digests) == 1


@pytest.mark.parametrize("excluded", ["dgo", 3, -1])
def test_a_class_that_is_not_there_is_named(excluded: str | int) -> None:
    with pytest.raises(ValueError, match=rf"^here: exclude_classes has {excluded}, of which there is no image"):
        without_classes(SPLIT, [excluded], "here")


def test_a_set_without_names_takes_numbers_only() -> None:
    unnamed = SPLIT._replace(classes=())
    assert rows_of(without_classes(unnamed, [2], "here")) == [0, 1, 3, 4, 5]
    with pytest.raises(ValueError, match=r"here: exclude_classes has dog.*give numbers"):
        without_classes(unnamed, ["dog"], "here")


def test_a_number_that_is_the_name_of_another_class_is_refused() -> None:
    for classes in (("1", "2", "3"), ("7", "1", "1")):  # 1 would leave out "2", and one class of two
        with pytest.raises(ValueError, match=r"here: exclude_classes has 1, but the class called 1 .* \['1'\]"):
            excluded_numbers([1], classes, range(3), "here")
    assert excluded_numbers(["1"], ["1", "2"], range(2), "here") == {0}
    assert excluded_numbers([1], ["0", "1"], range(2), "here") == {1}


def test_leaving_out_all_is_refused() -> None:
    with pytest.raises(ValueError, match="here: exclude_classes leaves no image"):
        without_classes(split_of([0, 1]), [0, 1], "here")


@pytest.mark.parametrize("excluded", ["dog", [1.0], [True], [["dog"]], 5])
def test_what_is_no_list_of_names_and_numbers_is_refused(excluded: Any) -> None:
    with pytest.raises(ValueError, match=r"here: exclude_classes=.* is no list of names and numbers"):
        without_classes(SPLIT, excluded, "here")


def test_numbers_of_names() -> None:
    assert excluded_numbers(["a", 5], ["b", "a", "a"], {1, 2, 5}, "here") == {1, 2, 5}
