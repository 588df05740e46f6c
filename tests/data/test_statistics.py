"""The numbers of a training set against their definitions in numpy."""

import numpy as np
import pytest
from helpers.image_files import IMAGES, split_of
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oodbench.data.digits import digits
from oodbench.data.split import Split
from oodbench.data.statistics import mean_and_std, statistics

SHAPES = st.tuples(st.integers(1, 600), st.just(2), st.just(2), st.just(3))


@given(arrays(np.uint8, SHAPES, elements=st.integers(0, 255), fill=st.integers(0, 255)))
def test_mean_and_deviation_are_numpys(images: np.ndarray) -> None:
    mean, std = mean_and_std(images)
    pixels = images.reshape(-1, 3) / 255
    assert mean == pytest.approx(pixels.mean(0), abs=5.1e-5)
    assert std == pytest.approx(pixels.std(0), abs=5.1e-5)


def test_numbers_of_the_digits_are_those_of_their_configuration() -> None:
    assert statistics(digits("train")) == {"num_classes": 8, "mean": [0.304] * 3, "std": [0.3252] * 3}


def test_classes_are_counted_by_name_or_by_label() -> None:
    split = Split(IMAGES[:3], np.array([0, 2, 1]), "d", ())
    assert statistics(split)["num_classes"] == 3
    assert statistics(split._replace(classes=tuple("abcd")))["num_classes"] == 4


def test_images_without_a_class_are_refused() -> None:
    with pytest.raises(ValueError, match="1 of 3 images without a class"):
        statistics(Split(IMAGES[:3], np.array([0, -1, 1]), "d", ()))


def test_images_of_one_colour_are_refused() -> None:
    with pytest.raises(ValueError, match="of which none may be 0"):
        statistics(split_of([0, 1])._replace(images=np.full((2, 32, 32, 3), 7, np.uint8)))
