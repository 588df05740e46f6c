import math

import pytest
import torch

from oodbench.losses.elogitnorm import ELogitNorm


def test_a_row_of_equal_logits_gives_log_k() -> None:
    objective = ELogitNorm(4, 5)
    torch.nn.init.zeros_(objective.head.bias)
    x, y = torch.zeros(1, 4, requires_grad=True), torch.tensor([3])
    loss = objective.loss(x, y)
    loss.backward()
    assert math.isclose(loss.item(), math.log(5), rel_tol=1e-6)
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in objective.parameters())


def test_a_dead_row_leaves_the_others_as_they_are() -> None:
    objective, y = ELogitNorm(4, 5), torch.tensor([0, 1, 2])
    torch.nn.init.zeros_(objective.head.bias)
    x = torch.rand(3, 4)
    x[1] = 0
    expected = (objective.loss(x[[0]], y[[0]]) + math.log(5) + objective.loss(x[[2]], y[[2]])) / 3
    torch.testing.assert_close(objective.loss(x, y), expected)


def test_classes_of_equal_weights_contribute_nothing() -> None:
    objective = ELogitNorm(4, 5)
    with torch.no_grad():
        objective.head.weight[1] = objective.head.weight[0]
    x = torch.randn(6, 4, requires_grad=True)
    loss = objective.loss(x, torch.arange(6) % 5)
    loss.backward()
    assert loss.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert objective.head.weight.grad is not None
    assert objective.head.weight.grad.isfinite().all()


def test_the_size_of_features_does_not_matter_without_bias() -> None:
    objective, x, y = ELogitNorm(4, 5).double(), torch.rand(6, 4).double(), torch.arange(6) % 5
    torch.nn.init.zeros_(objective.head.bias)
    torch.testing.assert_close(objective.loss(x, y), objective.loss(7 * x, y))


def test_the_diagnostic_is_the_smallest_scale() -> None:
    """W = (1, 0), (-1, 0): features (x, 0) have s = |x| / 2, here .1 and 2."""
    objective = ELogitNorm(2, 2)
    with torch.no_grad():
        objective.head.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
        objective.head.bias.zero_()
    (found,) = objective.diagnostics(torch.tensor([[4.0, 0.0], [0.2, 0.0]]), torch.tensor([0, 1])).values()
    assert found.item() == pytest.approx(-1, abs=1e-5)
