"""Cross entropy: its formula with label smoothing."""

import pytest
import torch
from helpers.losses import B, D, K, close, draw, identity_head, property_test, seeds
from hypothesis import strategies as st

from oodbench.losses.ce import CrossEntropy


@property_test(seed=seeds, ls=st.sampled_from([0.0, 0.1, 0.5]))
def test_loss_equals_its_formula(seed: int, ls: float) -> None:
    f, y = draw(seed, scale=3)
    f = f.double()[:, :K]
    objective = identity_head(CrossEntropy(K, K, ls))
    t = torch.full((B, K), ls / K, dtype=torch.float64)
    t[torch.arange(B), y] += 1 - ls
    close(objective.loss(f, y), -(t * f.softmax(1).log()).sum(1).mean())


def test_ood_score_is_minus_the_largest_log_probability() -> None:
    objective = identity_head(CrossEntropy(K, K, 0.0))
    f = draw(scale=3)[0].double()[:, :K]
    close(objective.log_probs(objective.logits(f)), f.log_softmax(1))
    close(objective.ood_score(f), -f.log_softmax(1).amax(1))


@pytest.mark.parametrize("ls", [-0.1, 1.0])
def test_senseless_smoothing_is_named_with_its_value(ls: float) -> None:
    with pytest.raises(ValueError, match=f"label_smoothing is {ls}"):
        CrossEntropy(D, K, ls)
