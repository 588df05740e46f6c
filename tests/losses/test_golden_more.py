"""ELogitNorm, T2FNorm and IsoMax+ equal their authors' code; golden/recipe_more.py rebuilds every input."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import recipe, recipe_more
from torch import Tensor

from oodbench.losses.elogitnorm import ELogitNorm, boundary_scale
from oodbench.losses.isomax import IsoMaxPlus
from oodbench.losses.t2fnorm import T2FNorm

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/golden_more.json").read_text())
PRECISION = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def cases(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", GOLDEN[section], ids=lambda case: case["id"])


def close(actual: Tensor, expected: Any) -> None:
    rtol, atol = (1e-4, 1e-6) if actual.dtype == torch.float32 else (1e-6, 1e-12)
    torch.testing.assert_close(actual.detach().double(), torch.tensor(expected).double(), rtol=rtol, atol=atol)


def check_input(name: str, tensor: Tensor, case: dict[str, Any]) -> None:
    actual, expected = recipe.fp(tensor), case["inputs"][name]
    assert actual["sum"] == pytest.approx(expected["sum"], rel=1e-12)
    assert actual["sumsq"] == pytest.approx(expected["sumsq"], rel=1e-12)


def linear_case(case: dict[str, Any], objective: Any, dtype: torch.dtype) -> tuple[Any, Tensor, Tensor]:
    """The objective with the case's head, its features, and its labels."""
    x, W, b, y = recipe_more.head_inputs(case["B"], case["K"], case["D"])
    x, W = case.get("x_scale", 1.0) * x, case.get("W_scale", 1.0) * W
    b = torch.zeros_like(b) if "zero" in case.get("bias", "") else b
    if case.get("row_2_of_x_set_to_zero"):
        x[2] = 0
    check_input("x", x, case)
    check_input("W", W, case)
    objective = objective.to(dtype)
    with torch.no_grad():
        objective.head.weight.copy_(W)
        objective.head.bias.copy_(b)
    return objective, x.to(dtype).requires_grad_(), y


@PRECISION
@cases("elogitnorm")
def test_elogitnorm(case: dict[str, Any], dtype: torch.dtype) -> None:
    objective, x, y = linear_case(case, ELogitNorm(case["D"], case["K"]), dtype)
    loss = objective.loss(x, y)
    close(loss, case["loss"])
    close(boundary_scale(objective.logits(x), objective.head.weight), case["per_sample_scale"])
    if dtype == torch.float64:
        leaves = {"x": x, "W": objective.head.weight, "b": objective.head.bias}
        for name, expected in case["grad_norm"].items():
            (gradient,) = torch.autograd.grad(loss, leaves[name], retain_graph=True)
            close(gradient.norm(), expected)
    logits = objective.logits(x)
    assert objective.log_probs(logits).argmax(1).tolist() == case["test_time"]["pred"]
    close((-objective.ood_score(logits)).exp(), case["test_time"]["msp_raw_softmax"])


@PRECISION
@cases("t2fnorm")
def test_t2fnorm(case: dict[str, Any], dtype: torch.dtype) -> None:
    objective, x, y = linear_case(case, T2FNorm(case["D"], case["K"], case["tau"]), dtype)
    loss = objective.loss(x, y)
    close(loss, case["loss"])
    if dtype == torch.float64:
        leaves = {"x": x, "W": objective.head.weight, "b": objective.head.bias}
        for name, expected in case["grad_norm"].items():
            (gradient,) = torch.autograd.grad(loss, leaves[name], retain_graph=True)
            close(gradient.norm(), expected)
    logits = objective.logits(x)
    assert objective.log_probs(logits).argmax(1).tolist() == case["test_time"]["pred_ood_logits"]
    close((-objective.ood_score(logits)).exp(), case["test_time"]["msp_source_softmax(W x/tau + b)"])
    W, b = objective.linear()
    close(x @ W.T + b, logits.tolist())


@PRECISION
@cases("isomaxplus")
def test_isomax_plus(case: dict[str, Any], dtype: torch.dtype) -> None:
    x, P, y = recipe_more.proto_inputs(case["B"], case["K"], case["D"])
    if case["row_0_of_x_set_to_minus_P_y0"]:
        x[0] = -P[y[0]]
    check_input("x", x, case)
    check_input("P", P, case)
    objective = IsoMaxPlus(case["D"], case["K"], case["entropic_scale"]).to(dtype)
    with torch.no_grad():
        objective.prototypes.copy_(P)
        objective.distance_scale.fill_(case["distance_scale"])
    x = x.to(dtype).requires_grad_()
    loss = objective.loss(x, y)
    close(loss, case["loss"])
    if dtype == torch.float64:
        leaves = {"x": x, "P": objective.prototypes, "distance_scale": objective.distance_scale}
        gradients = {n: torch.autograd.grad(loss, leaf, retain_graph=True)[0] for n, leaf in leaves.items()}
        for name, expected in case["grad_norm"].items():
            close(gradients[name].norm(), expected)
        close(gradients["distance_scale"][0], case["grad_distance_scale_signed"])
    logits = objective.logits(x)
    assert objective.log_probs(logits).argmax(1).tolist() == case["test_time"]["pred"]
    close(-objective.ood_score(logits), case["test_time"]["score_max_logit"])
    close(objective.log_probs(logits).amax(1).exp(), case["test_time"]["msp_softmax(logits)"])
