"""GHM-C: its formula, its memory, its hardest cells."""

import pytest
import torch
from helpers.losses import D, K, close, draw, identity_head, property_test, seeds
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.ghm import GHMC


def ghm_written_out(f: Tensor, y: Tensor, objective: GHMC, acc: list[float] | None = None) -> Tensor:
    """Bin after bin, as the authors' code goes; `acc` is changed in place."""
    bins, momentum = objective.bins, objective.momentum
    edges = [i / bins for i in range(bins)] + [1 + 1e-6]
    target = F.one_hot(y, f.shape[1]).double()
    g = (f.detach().sigmoid() - target).abs()
    weight, n = torch.zeros_like(g), 0
    for i in range(bins):
        inside = (g >= edges[i]) & (g < edges[i + 1])
        count = int(inside.sum())
        if count == 0:
            continue
        n += 1
        if momentum > 0 and acc is not None:
            acc[i] = momentum * acc[i] + (1 - momentum) * count
            weight[inside] = f.numel() / acc[i]
        else:
            weight[inside] = f.numel() / count
    cells = f.logaddexp(torch.zeros_like(f)) - target * f
    return objective.loss_weight * (weight / n * cells).sum() / f.numel()


@property_test(
    seed=seeds,
    bins=st.sampled_from([1, 3, 10, 30]),
    momentum=st.sampled_from([0.0, 0.5, 0.75]),
    loss_weight=st.sampled_from([1.0, 10.0]),
    scale=st.sampled_from([0.0, 0.1, 3.0, 30.0]),
)
def test_loss_equals_its_formula_step_after_step(
    seed: int, bins: int, momentum: float, loss_weight: float, scale: float
) -> None:
    objective = identity_head(GHMC(K, K, bins, momentum, loss_weight))
    acc = [0.0] * bins
    for step in range(3):
        f, y = draw(seed + step, scale=scale)
        f = f.double()[:, :K].requires_grad_()
        actual, expected = objective.loss(f, y), ghm_written_out(f, y, objective, acc)
        close(actual, expected)
        close(torch.autograd.grad(actual, f)[0], torch.autograd.grad(expected, f)[0])
        close(objective.acc, torch.tensor(acc))


@property_test(seed=seeds, scale=st.floats(0, 100), bins=st.integers(1, 40))
def test_weights_have_mean_1_without_momentum(seed: int, scale: float, bins: int) -> None:
    f, y = draw(seed, scale=scale)
    weights = GHMC(D, D, bins, 0.0, 1.0).weights(f, F.one_hot(y, D).float())
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    assert (weights > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_hardest_cell_has_a_weight_and_a_gradient(dtype: torch.dtype) -> None:
    objective = identity_head(GHMC(K, K, 30, 0.0, 1.0)).float()
    f = torch.zeros(2, K, dtype=dtype)
    f[0, 0] = 60  # g is exactly 1
    f[1, 1] = 7  # in low precision, its sigmoid too is exactly 1
    f.requires_grad_()
    y = torch.tensor([2, 2])
    gradient = torch.autograd.grad(objective.loss(f, y), f)[0]
    assert (gradient != 0).all()
    # two bins with cells: the eight of g = 1/2, and the two hard ones
    close(gradient[0, 0].float(), 1 / 2 / 2, rtol=1e-2)


def test_a_cell_on_an_edge_belongs_to_the_bin_above() -> None:
    f = torch.zeros(1, 4)  # g = 1/2
    objective = GHMC(4, 4, 2, 0.5, 1.0)
    objective.weights(f, F.one_hot(torch.tensor([0]), 4).float())
    assert objective.acc.tolist() == [0, 2]


def test_memory_moves_in_training_only() -> None:
    objective = identity_head(GHMC(K, K, 10, 0.75, 1.0))
    f, y = draw(scale=2)
    f = f.double()[:, :K]
    objective.loss(f, y)
    after = objective.acc.clone()
    assert after.sum() == pytest.approx(0.25 * f.numel())
    objective.eval()
    objective.loss(f, y)
    objective.log_probs(objective.logits(f))
    assert torch.equal(objective.acc, after)
    objective.train()
    objective.loss(f, y)
    assert not torch.equal(objective.acc, after)


def test_empty_bins_keep_their_memory() -> None:
    objective = GHMC(2, 2, 4, 0.75, 1.0)
    objective.acc += torch.tensor([1.0, 2, 3, 4])
    objective.weights(torch.tensor([[9.0, -9.0]]), torch.tensor([[1.0, 0.0]]))  # both cells in the first bin
    assert objective.acc.tolist() == [0.75 * 1 + 0.25 * 2, 2, 3, 4]


def test_memory_has_no_bias_correction() -> None:
    f, y = draw(scale=2)
    f = f.double()[:, :K]
    first = identity_head(GHMC(K, K, 10, 0.75, 1.0)).loss(f, y)
    close(first, 4 * identity_head(GHMC(K, K, 10, 0.0, 1.0)).loss(f, y))


def test_weight_beyond_half_precision_is_finite() -> None:
    f = torch.zeros(1024, 100, dtype=torch.float16)
    f[0, 0] = 9  # alone in its bin: 102400 cells / 1 / 3 bins is still finite in float32 only when computed there
    f[1, 1] = -4
    f.requires_grad_()
    y = torch.full((1024,), 99)
    objective = identity_head(GHMC(100, 100, 10, 0.75, 1.0)).float()  # x 4 in the first step: 136533 > 65504
    loss = objective.loss(f, y)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, f)[0].isfinite().all()


def test_loss_weight_scales_the_loss() -> None:
    f, y = draw()
    f = f.double()[:, :K]
    close(identity_head(GHMC(K, K, 10, 0.0, 7.0)).loss(f, y), 7 * identity_head(GHMC(K, K, 10, 0.0, 1.0)).loss(f, y))


def test_probabilities_are_sigmoids_and_the_score_is_a_logit() -> None:
    objective = identity_head(GHMC(K, K, 10, 0.0, 1.0))
    f = torch.tensor([[50.0, 1, 0, 0, 0], [60.0, 1, 0, 0, 0]])
    log_probs, score = objective.log_probs(f), objective.ood_score(f)
    close(log_probs, f.sigmoid().log(), atol=1e-7)
    assert log_probs.exp().sum(1).min() > 2  # rows do not sum to one
    assert score.tolist() == [-50, -60]


def test_the_score_falls_as_the_largest_logit_grows() -> None:
    objective = GHMC(D, K, 30, 0.75, 1.0).double()
    logits = objective.logits(draw()[0].double())
    close(objective.ood_score(logits), -logits.amax(1))
    higher = logits + F.one_hot(logits.argmax(1), K)
    assert (objective.ood_score(higher) < objective.ood_score(logits)).all()


@pytest.mark.parametrize(
    ("bins", "momentum", "named"), [(0, 0.0, "bins is 0"), (10, 1.0, "momentum is 1"), (10, -0.1, "momentum is -0.1")]
)
def test_senseless_hyperparameters_are_named(bins: int, momentum: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        GHMC(D, K, bins, momentum, 1.0)
