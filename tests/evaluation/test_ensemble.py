"""The mean of predictive probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from oodbench.evaluation.ensemble import mean_log_probs

Values = NDArray[np.float64]


@given(st.integers(1, 4).flatmap(lambda s: arrays(np.float64, (s, 5, 3), elements=st.floats(1e-6, 1))))
def test_it_is_the_mean_probability(p: Values) -> None:
    np.testing.assert_allclose(np.exp(mean_log_probs(list(np.log(p)))), sum(p) / len(p), rtol=1e-12)


@given(arrays(np.float64, (4, 3), elements=st.floats(-50, 0)))
def test_equal_members_are_their_own_ensemble(log_probs: Values) -> None:
    np.testing.assert_allclose(mean_log_probs([log_probs] * 3), log_probs, rtol=1e-12, atol=1e-12)


def test_members_do_not_depend_on_their_order() -> None:
    p = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (3, 6)))
    np.testing.assert_allclose(mean_log_probs(list(p)), mean_log_probs(list(p[::-1])), rtol=1e-14)


def test_probabilities_below_the_smallest_number_are_not_lost() -> None:
    log_probs = np.array([[-800.0, -900.0]])
    np.testing.assert_allclose(mean_log_probs([log_probs, log_probs - 1]), log_probs + np.log((1 + np.exp(-1)) / 2))


@pytest.mark.parametrize("shapes", [[], [(2, 3), (2, 4)], [(2, 3), (1, 3)]])
def test_members_of_other_shapes_are_refused(shapes: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="members of one shape are needed"):
        mean_log_probs([np.zeros(shape) for shape in shapes])
