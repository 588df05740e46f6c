"""The base of every loss: full precision around its methods, and a linear softmax head."""

import math
from typing import Any

import pytest
import torch
from helpers.losses import D, K, draw
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from oodbench.losses.objective import Objective, SoftmaxObjective, nll_of_prediction


class Watching(SoftmaxObjective):
    """A loss that notes in which precision it is computed."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        self.seen: Any = features.dtype, torch.is_autocast_enabled("cpu")
        return self.head(features).sum()


@pytest.mark.parametrize(
    ("given", "computed"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
def test_a_method_runs_without_autocast_in_float32_at_least(given: torch.dtype, computed: torch.dtype) -> None:
    objective = Watching(D, K).to(computed)
    with torch.autocast("cpu", torch.bfloat16):
        objective.loss(draw()[0].to(given), draw()[1])
    assert objective.seen == (computed, False)


def test_a_class_below_a_loss_is_wrapped_too() -> None:
    class Below(Watching):
        def loss(self, features: Tensor, labels: Tensor) -> Tensor:
            return super().loss(features, labels) + 0 * features.sum()

    objective = Below(D, K)
    with torch.autocast("cpu", torch.bfloat16):
        assert objective.loss(draw()[0].bfloat16(), draw()[1]).dtype == torch.float32
    assert objective.seen == (torch.float32, False)


def test_the_softmax_head_is_linear_with_a_softmax() -> None:
    objective = Watching(D, K).double()
    features = draw()[0].double()
    W, b = objective.linear()
    logits = features @ W.T + b
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    torch.testing.assert_close(objective.logits(features), logits)
    torch.testing.assert_close(objective.log_probs(logits), p.log())
    torch.testing.assert_close(objective.ood_score(logits), -p.amax(1).log())


@given(st.floats(-80, 0), st.floats(0.01, 1))
def test_no_images_tie_where_p_rounds_to_1(gap: float, more: float) -> None:
    score, smaller = nll_of_prediction(torch.tensor([[0.0, gap], [gap - more, 0.0]]))
    assert 0 < smaller < score
    torch.testing.assert_close(float(score), math.log1p(math.exp(gap)), rtol=1e-4, atol=0)


def test_a_loss_without_its_four_methods_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"log_probs.*logits.*loss.*ood_score"):
        Objective()  # type: ignore[abstract]


def test_what_a_loss_leaves_out_is_nothing() -> None:
    objective = Watching(D, K)
    features, labels = draw()
    assert (objective.has_head, list(objective.no_weight_decay)) == (True, [])
    assert objective.diagnostics(features, labels) == {}
    before = objective.state_dict()["head.weight"].clone()
    objective.finalize(features, labels)
    assert torch.equal(objective.head.weight, before)
