import pytest
import torch
from torch.nn import functional as F

from oodbench.losses.t2fnorm import T2FNorm


def test_a_dead_feature_has_the_bias_as_logits_and_gradient_0() -> None:
    objective, y = T2FNorm(4, 5, tau=0.1), torch.tensor([2])
    x = torch.zeros(1, 4, requires_grad=True)
    loss = objective.loss(x, y)
    loss.backward()
    torch.testing.assert_close(loss, F.cross_entropy(objective.head.bias[None], y))
    assert x.grad is not None
    assert (x.grad == 0).all()


def test_the_size_of_features_matters_at_test_time_alone() -> None:
    objective, x, y = T2FNorm(4, 5, tau=0.1).double(), torch.rand(6, 4).double(), torch.arange(6) % 5
    torch.testing.assert_close(objective.loss(x, y), objective.loss(3 * x, y))
    assert (objective.logits(3 * x) - objective.logits(x)).abs().max() > 0.1


def test_tau_must_be_positive() -> None:
    with pytest.raises(ValueError, match="tau is 0"):
        T2FNorm(4, 5, tau=0)


def test_the_diagnostic_is_the_mean_norm() -> None:
    objective = T2FNorm(2, 3, tau=0.1)
    found = objective.diagnostics(torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    assert {name: value.item() for name, value in found.items()} == pytest.approx({"feature_norm": 3.0})
