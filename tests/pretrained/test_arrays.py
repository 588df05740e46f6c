"""Outputs from arrays of any origin: what does not fit is named."""

import warnings

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from oodbench.pretrained.arrays import from_arrays


def test_certain_images_do_not_tie() -> None:
    found = from_arrays(np.array([[0, 40.0], [0, 60], [0, 100]]))
    np.testing.assert_allclose(found.ood_score, np.exp([-40.0, -60, -100]), rtol=1e-12)


def test_tensors_of_half_precision_are_taken() -> None:
    logits = torch.tensor([[0.5, 2.0], [1.0, -3.0]])
    np.testing.assert_array_equal(from_arrays(logits.bfloat16()).logits, logits)
    np.testing.assert_array_equal(from_arrays(logits.half()).logits, logits)


def test_probabilities_above_1_by_rounding_are_1() -> None:
    assert from_arrays(np.zeros((1, 2)), log_probs=[[5e-7, -20.0]]).log_probs.max() == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"logits": np.zeros(3)}, r"logits have shape \(3,\); a row an image is needed"),
        ({"logits": np.full((3, 2), np.nan)}, "logits are not all finite"),
        ({"logits": np.zeros((3, 2)), "labels": [0, 1]}, "logits are of 3 images, and labels of 2"),
        ({"logits": np.zeros((3, 2)), "features": np.zeros((4, 2))}, "features of 4"),
        ({"logits": np.zeros((3, 2)), "ood_score": [0, np.inf, 0]}, "ood_score are not all finite"),
        ({"logits": np.zeros((3, 2)), "log_probs": np.full((3, 2), -np.inf)}, "log_probs are not all finite"),
        ({"logits": np.zeros((3, 2)), "labels": [0.7, 1, 0]}, "labels are float64; whole numbers are needed"),
        ({"logits": np.zeros((3, 2)), "labels": [True, False, True]}, "labels are bool"),
        ({"logits": np.zeros((1, 2)), "labels": np.array([2**64 - 1], np.uint64)}, "labels are uint64 beyond int64"),
        ({"logits": np.full((3, 2), 1j)}, "logits are complex128; numbers are needed"),
        ({"logits": np.full((3, 2), "1")}, "logits are <U1"),
        ({"logits": np.zeros((3, 2)), "log_probs": np.full((3, 2), 0.5)}, r"log_probs go up to 0\.5; .* at most 0"),
        ({"logits": np.zeros((3, 2)), "log_probs": np.full((3, 3), -1)}, "log_probs are of 3 classes, logits of 2"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arguments: dict[str, NDArray[np.floating]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        from_arrays(**arguments)


def test_probabilities_in_the_place_of_logits_are_a_warning() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    with pytest.warns(UserWarning, match="logits are never negative .* give their logarithm"):
        from_arrays(p)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from_arrays(np.log(p))
        from_arrays(p, log_probs=np.log(p))
