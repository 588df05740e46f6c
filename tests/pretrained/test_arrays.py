"""Outputs from arrays of any origin: what does not fit is named."""

import numpy as np
import pytest
from numpy.typing import NDArray

from oodbench.pretrained.arrays import from_arrays


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"logits": np.zeros(3)}, r"logits have shape \(3,\); a row an image is needed"),
        ({"logits": np.full((3, 2), np.nan)}, "logits are not all finite"),
        ({"logits": np.zeros((3, 2)), "labels": [0, 1]}, "logits are of 3 images, and labels of 2"),
        ({"logits": np.zeros((3, 2)), "features": np.zeros((4, 2))}, "features of 4"),
        ({"logits": np.zeros((3, 2)), "ood_score": [0, np.inf, 0]}, "ood_score are not all finite"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arguments: dict[str, NDArray[np.floating]], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        from_arrays(**arguments)
