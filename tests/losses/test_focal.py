"""Focal loss: its formula, gradients up to certainty."""

import math

import pytest
import torch
from helpers.losses import D, close, draw, property_test, seeds
from hypothesis import strategies as st
from torch.nn import functional as F

from oodbench.losses.focal import Focal, focal_loss


@property_test(seed=seeds, gamma=st.floats(0, 5), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_loss_equals_its_formula(seed: int, gamma: float, scale: float) -> None:
    f, y = draw(seed, scale=scale)
    f = f.double()
    p = f.softmax(1)
    others = (p * (1 - F.one_hot(y, D))).sum(1)  # 1 - p_y, without a difference
    expected = -(others**gamma * p.gather(1, y[:, None])[:, 0].log()).mean()
    close(focal_loss(f, y, gamma), expected, rtol=1e-7)


@property_test(seed=seeds)
def test_gamma_0_is_cross_entropy(seed: int) -> None:
    f, y = draw(seed, scale=5)
    f.requires_grad_()
    focal, plain = focal_loss(f, y, 0.0), F.cross_entropy(f, y)
    close(focal, plain, rtol=1e-6)
    close(torch.autograd.grad(focal, f)[0], torch.autograd.grad(plain, f)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 5.0])
@pytest.mark.parametrize("margin", [10.0, 16.0, 17.0, 50.0, 104.0, 1e4])
def test_gradient_is_finite_up_to_certainty(gamma: float, margin: float) -> None:
    f = torch.tensor([[margin, 0.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    loss = focal_loss(f, y, gamma)
    assert 0 <= loss < 1e-3
    gradient = torch.autograd.grad(loss, f)[0]
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("margin", [5.0, 10.0, 15.0])
def test_gamma_below_1_is_clamped_at_certainty_only(gamma: float, margin: float) -> None:
    odds = 2 * math.exp(-margin)  # of the two other classes
    loss = focal_loss(torch.tensor([[margin, 0, 0]], dtype=torch.float64), torch.tensor([0]), gamma)
    close(loss, (odds / (1 + odds)) ** gamma * math.log1p(odds), rtol=1e-7)


def test_ood_score_is_minus_the_largest_log_probability() -> None:
    f = draw()[0].double()
    close(Focal(D, D, 2.0).ood_score(f), -f.log_softmax(1).amax(1))


def test_a_negative_gamma_is_named_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"gamma is -0\.5"):
        Focal(D, D, -0.5)
