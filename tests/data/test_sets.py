"""The sets of a run: checked against each other, cut to the limits."""

from typing import Any

import numpy as np
import pytest
from helpers.image_files import rows_of, split_of

from oodbench import data
from oodbench.data.sets import Limits
from oodbench.data.split import Split


def test_held_out_images_are_the_last_of_every_class() -> None:
    train, test = split_of([0, 1, 0, 1, 1, 0, 0, 1], "train"), split_of([0, 1] * 2, "test")
    far = split_of([-1] * 6, "far")
    sets = data.data_splits(train, test, {}, 2, Limits(test=4, held_out=3), far)
    assert rows_of(sets.validation["val"]) == [5, 6, 7]  # two of class 0, one of class 1
    assert rows_of(sets.train) == [0, 1, 2, 3, 4]
    assert rows_of(sets.validation["val_ood"]) == [0, 1, 3, 4]  # limit_test of 6, evenly spaced
    fewer = data.data_splits(train, test, {}, 2, Limits(train=2, held_out=3), far)
    assert rows_of(fewer.train) == [0, 1]
    assert rows_of(fewer.validation["val"]) == [5, 6, 7]  # whatever part of the rest is trained on
    assert data.data_splits(train, test, {}, 2).validation == {}


@pytest.mark.parametrize(
    ("held_out", "says"), [(1, "validation: a limit of 1"), (5, "validation: .*class 0"), (4, "train without the 4")]
)
def test_no_more_is_held_out_than_can_be_spared(held_out: int, says: str) -> None:
    train, test = split_of([0, 1, 0, 1, 1], "train"), split_of([0, 1], "test")
    with pytest.raises(ValueError, match=says):
        data.data_splits(train, test, {}, 2, Limits(held_out=held_out), split_of([-1], "far"))


def test_nothing_is_chosen_on_a_reported_set() -> None:
    far = split_of([-1] * 6, "far")
    train, test = split_of([0, 0, 1, 1], "train"), split_of([0, 1], "test")
    with pytest.raises(ValueError, match="far is reported, so nothing may be chosen on it"):
        data.data_splits(train, test, {"far": far}, 2, Limits(held_out=2), far)
    other = split_of([-1] * 6, "another")
    assert set(data.data_splits(train, test, {"far": far}, 2, Limits(held_out=2), other).validation) == {
        "val",
        "val_ood",
    }


def test_a_set_under_two_names_is_refused() -> None:
    train, test, far = sets()
    with pytest.raises(ValueError, match="the OOD sets a and b are the same images"):
        data.data_splits(train, test, {"a": far, "b": far}, 2)


def test_few_images_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    train, test, far = sets()
    data.data_splits(train, test, {"far": far}, 2)
    assert f"OOD set far has {len(far.labels)} images: its intervals and tests say little" in caplog.text


def test_data_splits_applies_the_limits() -> None:
    train, test = split_of([0, 1] * 10, "train"), split_of([0, 1] * 5, "test")
    ood = {"large": split_of([-1] * 10, "large"), "small": split_of([7] * 3, "small")}
    sets = data.data_splits(train, test, ood, 2, Limits(6, 4))
    assert (rows_of(sets.train), rows_of(sets.test)) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3])
    assert rows_of(sets.ood["large"]) == [0, 2, 5, 7]
    assert rows_of(sets.ood["small"]) == [0, 1, 2]
    whole = data.data_splits(train, test, ood, 2)
    assert whole == (train, test, ood, {})
    assert whole.by_name == {"train": train, "test": test, **ood}
    assert whole.sizes == {"train": 20, "test": 10, "large": 10, "small": 3}


@pytest.mark.parametrize(
    ("train", "test", "ood", "message"),
    [
        ([0, 1, 2, 1], [0, 1], [-1], r"train: the label of row 2 is 2, outside the 2 classes 0\.\.1"),
        ([0, 1], [0, -1, 1], [-1], r"test: the label of row 1 is -1, outside"),
        ([0, 0], [0, 1], [-1], r"train: 1 of 2 classes have no image: \[1\]"),
        ([0, 1], [1], [-1], r"test: 1 of 2 classes have no image: \[0\]"),
        ([0, 1], [0, 1], [], "OOD set far has no image"),
    ],
)
def test_data_splits_checks_the_labels(train: list[int], test: list[int], ood: list[int], message: str) -> None:
    sets = split_of(train, "train"), split_of(test, "test"), {"far": split_of(ood, "far")}
    with pytest.raises(ValueError, match=message):
        data.data_splits(*sets, 2)


# --- arrays ----------------------------------------------------------------------------------------------------------


def sets() -> tuple[Split, Split, Split]:
    """A training, a test and an OOD set that share no image."""
    return split_of([0, 1] * 3, "train"), split_of([0, 1], "test"), split_of([-1] * 4, "far")


def damaged(field: str, split: Split) -> Split:
    changes: dict[str, dict[str, Any]] = {
        "channels first": {"images": split.images.transpose(0, 3, 1, 2)},
        "float images": {"images": split.images.astype(np.float32)},
        "too few labels": {"labels": split.labels[1:]},
        "int32 labels": {"labels": split.labels.astype(np.int32)},
    }
    return split._replace(**changes[field])


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("field", ["channels first", "float images", "too few labels", "int32 labels"])
def test_arrays_of_a_custom_reader_are_checked(field: str, position: int) -> None:
    given = list(sets())
    given[position] = damaged(field, given[position])
    with pytest.raises(ValueError, match=r"(train|test|far): (images|labels) are .* expected"):
        data.data_splits(given[0], given[1], {"far": given[2]}, 2)


def test_a_reader_that_returns_no_split_is_named() -> None:
    train, test, _ = sets()
    with pytest.raises(ValueError, match=r"OOD set far: the reader returned NoneType, expected oodbench\.data\.Split"):
        data.data_splits(train, test, {"far": None}, 2)  # type: ignore[dict-item]


def test_an_unknown_label_in_training_is_explained() -> None:
    train, test, _ = sets()
    unknown = train._replace(labels=np.full(6, data.UNKNOWN))
    with pytest.raises(ValueError, match="unknown class: null, or no column `label` or `fine_label`"):
        data.data_splits(unknown, test, {}, 2)


# --- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of_test", "says"),
    [
        (("a", "c"), "different classes, only in train: b; only in test: c; both need the same"),
        (("a", "b", "c"), "different classes, only in test: c; both"),
        (("b", "a"), "train and test number their classes differently"),
    ],
)
def test_train_and_test_need_the_same_classes(of_test: tuple[str, ...], says: str) -> None:
    train, test = split_of([0, 1], "train")._replace(classes=("a", "b")), split_of([0, 1], "test")
    with pytest.raises(ValueError, match=says):
        data.data_splits(train, test._replace(classes=of_test), {}, 2)
    for known in ((), ("a", "b")):
        assert data.data_splits(train, test._replace(classes=known), {}, 2).test.classes == known
