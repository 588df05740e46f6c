"""An ensemble of several trainings: the mean of their predictive probabilities (Lakshminarayanan et al., 2017)."""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from oodbench.evaluation.arrays import Array


def mean_log_probs(members: Sequence[Array]) -> Array:
    """S x (N, K) -> (N, K), log (1/S sum_s p_s), in logarithms: no probability is lost to underflow.

    Rows need not sum to one. Raises ValueError for members of other shapes, and for none.
    """
    shapes = {member.shape for member in members}
    if len(shapes) != 1:
        raise ValueError(f"log-probabilities of the shapes {sorted(shapes)}: members of one shape are needed")
    return logsumexp(np.stack(members), axis=0) - np.log(len(members))
