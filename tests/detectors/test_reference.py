"""Reference: the head, its weights, the images to calibrate with; work in blocks."""

import numpy as np
import pytest
import torch
from helpers.toy import NO_HEAD, random_outputs
from hypothesis import given
from hypothesis import strategies as st

from oodbench.detectors import reference as reference_module
from oodbench.detectors.reference import (
    NotApplicable,
    blocks,
    in_blocks,
    normalised,
    rows_by_label,
    unit_vectors,
    without_training,
)
from oodbench.losses.ce import CrossEntropy
from oodbench.model import head_fn, linear_weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(seed=st.integers(0, 2**32 - 1))
def test_the_head_takes_changed_features(dtype: type, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    objective = CrossEntropy(3, 2, label_smoothing=0.0)
    reference = NO_HEAD._replace(head=head_fn(objective), linear=linear_weights(objective))
    features = np.random.default_rng(seed).normal(size=(5, 3))
    W, b = reference.weights()
    rounding = 5 * np.finfo(np.float32).eps * (np.abs(features) @ np.abs(W).T + np.abs(b))  # a cast, products, sums
    assert (np.abs(reference.apply_head(features.astype(dtype)) - features @ W.T - b) <= rounding).all()


def test_what_is_unknown_is_a_reason() -> None:
    with pytest.raises(NotApplicable, match="these outputs came without one"):
        NO_HEAD.apply_head(np.zeros((2, 6)))
    with pytest.raises(NotApplicable, match="needs a linear head"):
        NO_HEAD.weights()


def test_held_out_images_calibrate_before_training_images() -> None:
    held_out = random_outputs(seed=1)
    assert NO_HEAD.calibration is NO_HEAD.train
    assert NO_HEAD._replace(validation=held_out).calibration is held_out


@pytest.mark.parametrize("size", [1, 7, 40, 41])
@pytest.mark.parametrize("n", [0, 1, 40])
def test_blocks_are_all_rows_in_order(n: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_module, "BLOCK", size)
    x = np.arange(2 * n).reshape(n, 2)
    np.testing.assert_array_equal(np.concatenate([block for (block,) in blocks(x)]), x)
    np.testing.assert_array_equal(in_blocks(lambda a, b: a + b, x, x), 2 * x)


@given(n=st.integers(1, 10**6))
def test_blocks_are_of_one_size(n: int) -> None:
    sizes = [len(block) for (block,) in blocks(np.empty(n, dtype=bool))]
    assert max(sizes) <= reference_module.BLOCK
    assert max(sizes) - min(sizes) <= 1


@given(st.lists(st.integers(-2, 5), min_size=1))
def test_rows_by_label_are_those_of_a_comparison(labels: list[int]) -> None:
    y = np.array(labels, dtype=int)
    found = rows_by_label(y)
    assert list(found) == sorted(set(labels))
    for label, rows in found.items():
        np.testing.assert_array_equal(rows, np.flatnonzero(y == label))


def test_normalised_probabilities_sum_to_one() -> None:
    log_p = np.log(np.array([[0.9, 0.8, 0.1], [1e-300, 1e-300, 1e-301]]))
    p = np.exp(normalised(log_p))
    np.testing.assert_allclose(p.sum(1), 1)
    np.testing.assert_allclose(p[1] / p[1, 0], [1, 1, 0.1])


def test_a_vector_of_zeros_stays_at_the_origin() -> None:
    np.testing.assert_array_equal(unit_vectors(np.array([[0.0, 0.0], [3.0, 4.0]])), [[0, 0], [0.6, 0.8]])


@pytest.mark.parametrize("scale", [1e-30, 1e-25, 1.0, 1e20, 1e35])
def test_unit_vectors_of_any_scale(scale: float) -> None:
    found = unit_vectors(np.array([[3.0, 4.0]], dtype=np.float32) * np.float32(scale))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=1e-6)


def test_without_training_images_only_what_reads_them_does_not_apply() -> None:
    held_out = random_outputs(seed=1)
    for reference in (without_training(), without_training(validation=held_out)):
        with pytest.raises(NotApplicable, match="reads outputs of training images, and none are given"):
            _ = reference.train
    assert without_training(validation=held_out).calibration is held_out
    with pytest.raises(NotApplicable, match="training images"):
        _ = without_training().calibration
    assert without_training(head=abs).apply_head(np.array([-1.0])) == 1
