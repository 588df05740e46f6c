from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from oodbench.training.muon import MuonAdam, orthogonal

SETTINGS = {
    "lr": 0.1,
    "momentum": 0.6,
    "newton_schulz_steps": 3,
    "adam_lr": 0.01,
    "bias_lr": 0.02,
    "betas": (0.9, 0.99),
}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 4, 5))


def trained(scale: float, steps: int = 3) -> dict[str, Tensor]:
    model = network()
    optimizer = MuonAdam(model.parameters(), **SETTINGS)
    for step in range(steps):
        images = torch.randn(16, 3, 4, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (scale * model(images).square().sum()).backward()
        optimizer.step()
    return model.state_dict()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 1000))
def test_singular_values_end_near_one(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(matrix)
    kept = orthogonal(matrix, 5)
    directions = torch.linalg.svd(matrix, full_matrices=False)
    diagonal = (directions.U.T @ kept @ directions.Vh.T).diagonal()[values > 0.1 * values[0]]
    assert diagonal.min() > 0.5
    assert diagonal.max() < 1.4


@pytest.mark.parametrize("scale", [2.0**-10, 2.0**10])  # exact in bf16, where `orthogonal` works
def test_training_does_not_depend_on_the_scale_of_the_loss(scale: float) -> None:
    scaled, plain = trained(scale), trained(1.0)
    for name in plain:
        torch.testing.assert_close(scaled[name], plain[name], atol=2e-3, rtol=0)  # rounding


def test_other_parameters_take_the_steps_of_torchs_adam() -> None:
    w = nn.Parameter(torch.randn(5, 4))
    peer = nn.Parameter(w.detach().clone())
    ours, theirs = MuonAdam([w], **SETTINGS), torch.optim.Adam([peer], lr=0.01, betas=(0.9, 0.99))
    for step in range(5):
        w.grad = torch.randn(5, 4, generator=torch.Generator().manual_seed(step))
        peer.grad = w.grad.clone()
        ours.step()
        theirs.step()
    torch.testing.assert_close(w, peer)


def test_a_step_moves_filters_by_the_learning_rate() -> None:
    w = nn.Parameter(torch.randn(8, 3, 3, 3))
    w.grad = torch.randn_like(w)
    before = w.detach() * 8**0.5 / w.detach().norm()
    MuonAdam([w], **SETTINGS).step()
    moved = (w.detach() - before).flatten(1)
    torch.testing.assert_close(torch.linalg.svdvals(moved), torch.full((8,), 0.1), atol=0.05, rtol=0)


def test_steps_of_filters_equal_the_formula() -> None:
    """m = .6 m + g, then w = sqrt(8) w / |w| - .1 orthogonal(g + .6 m), against the gradient."""
    w = nn.Parameter(torch.randn(8, 3, 3, 3))
    expected, m = w.detach().clone(), torch.zeros_like(w)
    optimizer = MuonAdam([w], **SETTINGS)
    for step in range(3):
        w.grad = torch.randn(w.shape, generator=torch.Generator().manual_seed(step))
        m = 0.6 * m + w.grad
        moved = -0.1 * orthogonal((w.grad + 0.6 * m).flatten(1), 3).view_as(w)
        expected = expected * 8**0.5 / expected.norm() + moved
        optimizer.step()
        torch.testing.assert_close(w.detach(), expected, atol=2e-3, rtol=0)  # one bit of bf16 may round otherwise
        assert (moved * w.grad).sum() < 0


def test_filters_biases_and_others_have_their_own_rates() -> None:
    model = network()
    temperature = nn.Parameter(torch.ones(1))
    groups = MuonAdam([*model.parameters(), temperature], **SETTINGS).param_groups
    assert [group["lr"] for group in groups] == [0.1, 0.02, 0.01]
    conv, norm, _, linear = model
    expected = [[conv.weight], [norm.weight, norm.bias, linear.bias], [linear.weight, temperature]]
    for group, parameters in zip(groups, expected, strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in parameters]


def test_a_loaded_state_goes_on_to_the_bit() -> None:
    def step(model: nn.Module, optimizer: MuonAdam, seed: int) -> None:
        for index, p in enumerate(model.parameters()):
            p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(10 * seed + index))
        optimizer.step()

    model, resumed = network(), network()
    optimizer, other = (MuonAdam(m.parameters(), **SETTINGS) for m in (model, resumed))
    step(model, optimizer, 1)
    resumed.load_state_dict(model.state_dict())
    other.load_state_dict(deepcopy(optimizer.state_dict()))
    step(model, optimizer, 2)
    step(resumed, other, 2)
    assert all(a.equal(b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))
