"""LogitNorm: its formula, its bounds, its probabilities."""

import math

import pytest
import torch
from helpers.losses import K, close, draw, identity_head, property_test, seeds
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.logitnorm import LogitNorm, logitnorm_loss


def logitnorm_written_out(f: Tensor, y: Tensor, tau: float) -> Tensor:
    scaled = f / (f.square().sum(1, keepdim=True).sqrt() + 1e-7) / tau
    return (scaled.logsumexp(1) - scaled[torch.arange(len(f)), y]).mean()


@property_test(seed=seeds, tau=st.sampled_from([0.01, 0.04, 1.0]), scale=st.sampled_from([1e-7, 1e-6, 1e-3, 1.0, 1e4]))
def test_loss_equals_its_formula_down_to_eps(seed: int, tau: float, scale: float) -> None:
    f, y = draw(seed, scale=scale)
    f = f.double().requires_grad_()
    actual, expected = logitnorm_loss(f, y, tau), logitnorm_written_out(f, y, tau)
    close(actual, expected, rtol=1e-10)
    close(torch.autograd.grad(actual, f)[0], torch.autograd.grad(expected, f)[0], rtol=1e-7, atol=1e-7)


@property_test(seed=seeds, tau=st.floats(0.01, 2), scale=st.floats(1, 1e4))
def test_the_scale_of_the_logits_counts_only_by_eps(seed: int, tau: float, scale: float) -> None:
    f, y = draw(seed)
    f = f.double()
    moved = (logitnorm_loss(scale * f, y, tau) - logitnorm_loss(f, y, tau)).abs()
    assert moved <= 2 * 1e-7 / (tau * f.norm(dim=1).min()) + 1e-12  # |dCE| <= 2 max |d logit|


@property_test(seed=seeds, tau=st.floats(0.02, 2), k=st.integers(2, 20), scale=st.floats(1e-3, 1e3))
def test_loss_stays_above_its_attainable_minimum(seed: int, tau: float, k: int, scale: float) -> None:
    bound = math.log1p((k - 1) * math.exp(-math.sqrt(k / (k - 1)) / tau))
    y = torch.arange(k)
    best = torch.eye(k).double() - 1 / k  # the simplex: as far above all others as a unit vector can be
    noise = torch.randn(k, k, generator=torch.Generator().manual_seed(seed)).double()
    for f in (noise, best, best + 0.1 * noise):
        assert logitnorm_loss(scale * f, y, tau) >= bound * (1 - 1e-9) - 1e-15
    assert logitnorm_loss(1e3 * best, y, tau).item() == pytest.approx(bound, rel=1e-6)
    assert bound > math.log1p((k - 1) * math.exp(-2 / tau)) or k == 2  # the paper's bound is lower still


def test_zero_logits_have_loss_log_k_and_a_finite_gradient() -> None:
    f = torch.zeros(1, K, requires_grad=True)
    loss = logitnorm_loss(f, torch.tensor([0]), 0.04)
    gradient = torch.autograd.grad(loss, f)[0]
    close(loss, math.log(K), rtol=1e-6)
    close(gradient, (torch.full((1, K), 1 / K) - F.one_hot(torch.tensor([0]), K)) / (1e-7 * 0.04), rtol=1e-5)


def test_gradient_grows_as_the_logits_shrink() -> None:
    f, y = draw()
    norms = []
    for scale in (1.0, 1e-3):
        leaf = (scale * f).double().requires_grad_()
        norms.append(torch.autograd.grad(logitnorm_loss(leaf, y, 0.04), leaf)[0].norm())
    assert (norms[1] / norms[0]).item() == pytest.approx(1000, rel=1e-3)


def test_probabilities_have_neither_norm_nor_tau() -> None:
    objective = identity_head(LogitNorm(K, K, 0.04))
    f = draw(scale=3)[0].double()[:, :K]
    close(objective.log_probs(objective.logits(f)), f.log_softmax(1))
    close(objective.ood_score(objective.logits(f)), -f.log_softmax(1).amax(1))


@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_a_tau_that_is_not_positive_is_named(tau: float) -> None:
    with pytest.raises(ValueError, match=f"tau is {tau}"):
        LogitNorm(K, K, tau)
