"""External outputs: probabilities and OOD score without a training loss, and without a head if it is unknown."""

import pytest
import torch
from helpers.losses import D, K, close, draw

from oodbench.losses.external import ExternalLinear, ExternalLogits
from oodbench.losses.objective import Objective
from oodbench.model import head_fn


@pytest.mark.parametrize("objective", [ExternalLinear(D, K), ExternalLogits(D, K)])
def test_there_is_no_training_loss(objective: Objective) -> None:
    with pytest.raises(NotImplementedError, match="without a training loss"):
        objective.loss(*draw())


def test_an_unknown_head_is_no_function() -> None:
    objective = ExternalLogits(D, K)
    assert head_fn(objective) is None
    assert head_fn(ExternalLinear(D, K)) is not None
    with pytest.raises(NotImplementedError, match="without the head"):
        objective.logits(draw()[0])


def test_probabilities_are_a_softmax_of_the_stored_logits() -> None:
    z = torch.randn(7, K, generator=torch.Generator().manual_seed(0)).double()
    close(ExternalLogits(D, K).log_probs(z), z.log_softmax(1))
    close(ExternalLogits(D, K).ood_score(z), -z.log_softmax(1).amax(1))
