import math

import pytest
import torch

from oodbench.losses.isomax import IsoMaxPlus


def test_a_feature_on_its_prototype_has_a_finite_gradient() -> None:
    objective = IsoMaxPlus(4, 5, entropic_scale=10.0)
    x = (2 * objective.prototypes[[3]]).detach().requires_grad_()
    loss = objective.loss(x, torch.tensor([3]))
    loss.backward()
    assert loss.isfinite()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_a_dead_feature_gives_log_k() -> None:
    objective = IsoMaxPlus(4, 5, entropic_scale=10.0)
    loss = objective.loss(torch.zeros(1, 4), torch.tensor([0]))
    assert math.isclose(loss.item(), math.log(5), rel_tol=1e-5)


def test_a_large_distance_scale_keeps_the_loss_finite() -> None:
    objective = IsoMaxPlus(4, 5, entropic_scale=10.0)
    with torch.no_grad():
        objective.distance_scale.fill_(1e4)
    x = (-objective.prototypes[[3]]).detach()
    assert objective.loss(x, torch.tensor([3])).isfinite()


def test_logits_lie_between_minus_2_scales_and_0() -> None:
    objective = IsoMaxPlus(4, 5, entropic_scale=10.0)
    logits = objective.logits(100 * torch.randn(50, 4))
    assert logits.min() >= -2 - 1e-6
    assert logits.max() <= 0


def test_entropic_scale_must_be_positive() -> None:
    with pytest.raises(ValueError, match="entropic_scale is -1"):
        IsoMaxPlus(4, 5, entropic_scale=-1)


@pytest.mark.parametrize("scale", [0.5, -0.25])
def test_the_diagnostic_is_the_size_of_the_scale(scale: float) -> None:
    objective = IsoMaxPlus(2, 3, entropic_scale=10.0)
    with torch.no_grad():
        objective.distance_scale.fill_(scale)
    found = objective.diagnostics(torch.randn(4, 2), torch.tensor([0, 1, 2, 0]))
    assert {name: value.item() for name, value in found.items()} == {"distance_scale": abs(scale)}
