"""Post-hoc scores: functions of stored outputs. A score is strangeness: higher is more likely out-of-distribution."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from oodbench.outputs import Outputs

Array = NDArray[np.floating]


class Reference(NamedTuple):
    """What a detector may know besides the images it scores."""

    train: Outputs  # of the training set, images not augmented
    head: Callable[[Array], Array]  # (N, D) features -> (N, C) logits


def native(test: Outputs, reference: Reference) -> Array:
    """The loss's own idea of an outlier, its `ood_score`"""
    return test.ood_score


def msp(test: Outputs, reference: Reference) -> Array:
    """-max_k p_k   (Hendrycks & Gimpel, 2017), with the loss's own reading of its logits as p"""
    return -np.exp(test.log_probs.max(1))


def maxlogit(test: Outputs, reference: Reference) -> Array:
    """-max_k z_k over the K classes   (Hendrycks et al., 2022)"""
    return -test.logits[:, : test.log_probs.shape[1]].max(1)


def energy(test: Outputs, reference: Reference, temperature: float) -> Array:
    """-T log sum_k exp(z_k / T) over the K classes   (Liu et al., 2020, eq. 4)"""
    z = test.logits[:, : test.log_probs.shape[1]].astype(np.float64)
    return -temperature * logsumexp(z / temperature, axis=1)
