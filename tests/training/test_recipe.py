"""The learning rate of every step, and that every file of conf/recipe is complete."""

import math
from dataclasses import fields, replace

import pytest
import torch
from helpers.config import composed, names
from helpers.training import RECIPE
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, MultiStepLR

from oodbench.training.recipe import Recipe, cosine, learning_rate_factor, linear, steps


def test_cosine_equals_openoods_and_torchs_schedule() -> None:
    """OpenOOD sets 1e-6 + (0.1 - 1e-6) (1 + cos(pi step / steps)) / 2 in a LambdaLR before every step."""
    recipe = replace(RECIPE, epochs=10, warmup_epochs=0)
    per_epoch, total = 7, 70
    weight = nn.Parameter(torch.zeros(1))
    ours, openood, closed = (torch.optim.SGD([weight], lr=0.1) for _ in range(3))
    lr_min = 1e-6 / 0.1
    schedulers = (
        LambdaLR(ours, lambda step: learning_rate_factor(step, per_epoch, recipe)),
        LambdaLR(openood, lambda step: lr_min + (1 - lr_min) * 0.5 * (1 + math.cos(step / total * math.pi))),
        CosineAnnealingLR(closed, T_max=total, eta_min=1e-6),
    )
    for _ in range(total):
        rates = [optimizer.param_groups[0]["lr"] for optimizer in (ours, openood, closed)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-12)
        assert rates[0] == pytest.approx(rates[2], rel=1e-6)
        for optimizer, scheduler in zip((ours, openood, closed), schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    assert learning_rate_factor(0, per_epoch, recipe) == 1
    assert 0.1 * learning_rate_factor(total, per_epoch, recipe) == pytest.approx(1e-6)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_cosine_falls_from_one_to_its_final_factor(a: float, b: float, final: float) -> None:
    assert (cosine(0, final), cosine(1, final)) == pytest.approx((1, final))
    assert cosine(min(a, b), final) >= cosine(max(a, b), final) - 1e-15


@pytest.mark.parametrize("per_epoch", [1, 7, 391])
def test_steps_fall_after_the_same_epochs_as_torchs(per_epoch: int) -> None:
    recipe = replace(RECIPE, epochs=200, warmup_epochs=0, schedule=lambda share: steps(share, [0.4, 0.7], 0.1))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    torchs = MultiStepLR(optimizer, [80, 140], 0.1)
    for epoch in range(200):
        factors = [learning_rate_factor(epoch * per_epoch + step, per_epoch, recipe) for step in (0, per_epoch - 1)]
        assert factors == pytest.approx([torchs.get_last_lr()[0]] * 2)
        optimizer.step()
        torchs.step()


def test_warm_up_is_linear_and_the_schedule_follows_it() -> None:
    recipe = replace(RECIPE, epochs=3, warmup_epochs=1, schedule=lambda share: 10 + share)
    factors = [learning_rate_factor(step, 4, recipe) for step in range(12)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == [10 + i / 8 for i in range(8)]


def test_warm_up_may_last_half_an_epoch() -> None:
    half = replace(RECIPE, epochs=2, warmup_epochs=0.5)
    assert [learning_rate_factor(step, 4, half) for step in range(3)] == [0.5, 1, 1]


def test_warm_up_may_last_the_whole_training() -> None:
    only = replace(RECIPE, epochs=1, warmup_epochs=1)
    assert [learning_rate_factor(step, 2, only) for step in range(2)] == [0.5, 1]


def test_linear_falls_from_one_to_its_end() -> None:
    assert [linear(share, 0.2) for share in (0, 0.5, 1)] == pytest.approx([1, 0.6, 0.2])


@pytest.mark.parametrize("name", names("recipe"))
def test_a_recipe_file_has_every_value_and_no_other(name: str) -> None:
    node = composed("loss=ce", f"recipe={name}").recipe
    assert set(node) == {field.name for field in fields(Recipe)}
    recipe = Recipe(**instantiate(node, _convert_="all"))
    assert isinstance(recipe.optimizer([{"params": [nn.Parameter(torch.zeros(1))]}]), torch.optim.Optimizer)
    assert all(0 <= recipe.schedule(share / 10) < math.inf for share in range(11))


@pytest.mark.parametrize("name", ["sgd200", "openood100", "short", "smoke"])
def test_sgd_recipes_have_the_public_benchmarks_values(name: str) -> None:
    recipe = Recipe(**instantiate(composed("loss=ce", f"recipe={name}").recipe, _convert_="all"))
    (group,) = recipe.optimizer([{"params": [nn.Parameter(torch.zeros(1))]}]).param_groups
    expected = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert {key: group[key] for key in expected} == expected
    assert [recipe.schedule(0), recipe.schedule(1)] == pytest.approx([1, 1e-5])
    assert (recipe.batch_size, recipe.crop_padding, recipe.flip) == (128, 4, True)
