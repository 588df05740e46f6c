"""Losses equal the values of their authors' code; golden/recipe.py rebuilds every input, bit for bit.

A loss is called through `Objective`, as in training, with the identity as its head.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from golden import recipe
from helpers.losses import identity_head
from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.ce import CrossEntropy
from oodbench.losses.circle import Circle
from oodbench.losses.focal import Focal
from oodbench.losses.ghm import GHMC
from oodbench.losses.halo import Halo
from oodbench.losses.logitnorm import LogitNorm

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/golden.json").read_text())
HALO_INPUTS = [e for e in GOLDEN["halo"] if e["id"].endswith("ls0.1/distill/gamma_init")]  # one for each D
PRECISION = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def cases(section: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", GOLDEN[section], ids=lambda case: case["id"])


def close(actual: Tensor | float | list[float], expected: Any, rtol: float = 1e-6, atol: float = 1e-12) -> None:
    """Compare within the tolerances of float64; float32 tensors within 1e-4 relative, 1e-6 absolute."""
    actual = torch.as_tensor(actual).detach()
    if actual.dtype == torch.float32:
        rtol, atol = max(rtol, 1e-4), max(atol, 1e-6)
    torch.testing.assert_close(actual.double(), torch.tensor(expected, dtype=torch.float64), rtol=rtol, atol=atol)


def check_inputs(case: dict[str, Any], labels: Tensor, **inputs: Tensor) -> None:
    assert labels.tolist() == case["inputs"]["targets"]
    for name, tensor in inputs.items():
        actual, expected = recipe.fp(tensor), case["inputs"][name]
        for key in ("sum", "sumsq"):
            assert actual.pop(key) == pytest.approx(expected[key], rel=1e-12)
        assert actual == {key: expected[key] for key in actual}


def gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [gradient.norm() for gradient in torch.autograd.grad(loss, leaves)]


# ---- HALO, as published


def halo(case: dict[str, Any], dtype: torch.dtype) -> tuple[Halo, Tensor, Tensor]:
    z, y, centroids = recipe.halo_inputs(case["B"], case["K"], case["D"])
    objective = Halo(
        case["D"], case["K"], "published", case["D"], case["label_smoothing"], case["distill"], True, None, 1.0, None
    )
    objective = identity_head(objective, dtype)
    objective.centroids.data.copy_(centroids)
    objective.raw_gamma.data.fill_(case["raw_gamma"])
    return objective, z.to(dtype).requires_grad_(), y


@pytest.mark.parametrize("case", HALO_INPUTS, ids=lambda case: f"D{case['D']}")
def test_halo_inputs_are_rebuilt(case: dict[str, Any]) -> None:
    z, y, centroids = recipe.halo_inputs(case["B"], case["K"], case["D"])
    check_inputs(case, y, z=z, C_raw=centroids)


@PRECISION
@cases("halo")
def test_halo_loss_and_gradients(case: dict[str, Any], dtype: torch.dtype) -> None:
    objective, z, y = halo(case, dtype)
    expected = case["published"]
    loss = objective.loss(z, y)
    close(loss, expected["loss"])
    for name, norm in zip(
        ("z", "C_raw", "raw_gamma"),
        gradients(loss, z, objective.centroids, objective.raw_gamma),
        strict=True,
    ):
        close(norm, expected["grad_norm"][name])
    if dtype == torch.float32:
        close(loss, expected["loss_float32"])


@cases("halo")
def test_halo_terms_of_each_image(case: dict[str, Any]) -> None:
    objective, z, y = halo(case, torch.float64)
    expected = case["published"]
    each, target = objective.embedded_loss(z, y), objective.targets(z, y)
    close(each, expected["per_sample_total"])
    close(1 - target.gather(1, y[:, None]).min(), expected["max_soft_target_mass_off_true_class"])
    close(target[:, -1].sum(), expected["abstain_target_mass"])
    cross_entropy = F.cross_entropy(objective.logits(z), target)
    close(cross_entropy, expected["ce_mean"])
    close(each.mean() - cross_entropy, expected["radial_mean"])


@cases("halo")
def test_halo_at_test_time(case: dict[str, Any]) -> None:
    objective, z, _ = halo(case, torch.float64)
    expected = case["published"]["inference"]
    logits = objective.logits(z)
    log_probs, distances = objective.log_probs(logits), objective.distances(z)
    assert log_probs.argmax(1).tolist() == distances.argmax(1).tolist() == expected["pred"]
    close(objective.ood_score(logits).exp(), expected["p_abstain"])
    close(log_probs.exp().amax(1), expected["max_class_prob_K+1_softmax"])
    close(distances.softmax(1).amax(1), expected["max_prob_K_softmax"])
    close(distances.amax(1), expected["max_distance_logit"])
    close(logits[0, :3], expected["shifted_logits_row0_first3"])


@pytest.mark.parametrize("case", GOLDEN["halo_constants"])
def test_halo_constants(case: dict[str, Any]) -> None:
    torch.set_default_dtype(torch.float64)  # so that the initial raw gamma is not rounded
    try:
        objective = Halo(7, case["K"], "published", case["D"], case["label_smoothing"], True, True, None, 1.0, None)
    finally:
        torch.set_default_dtype(torch.float32)
    assert objective.abstain_bias == pytest.approx(case["abstain_bias"], rel=1e-12)
    assert case["t_ideal"] - objective.abstain_bias == pytest.approx(case["margin_ce"], rel=1e-12)
    assert math.log(case["max_prob"] / case["min_prob"]) == pytest.approx(case["margin_ce"], rel=1e-12)
    close(objective.raw_gamma, [case["raw_gamma"]], rtol=1e-12)
    close(objective.gamma, [case["init_gamma"]], rtol=1e-12)
    r2 = torch.linspace(0.1, 2, 1901, dtype=torch.float64)  # in steps of 0.001
    assert r2[objective._radial(r2).argmin()].item() == pytest.approx(case["r_sq_target"], abs=5e-4)


# ---- LogitNorm and focal: functions of the logits


@PRECISION
@cases("logitnorm")
def test_logitnorm(case: dict[str, Any], dtype: torch.dtype) -> None:
    f, y = recipe.logit_inputs(case["B"], case["K"])
    check_inputs(case, y, f=f)
    objective = identity_head(LogitNorm(case["K"], case["K"], case["tau"]), dtype)
    f = f.to(dtype).requires_grad_()
    loss = objective.loss(f, y)
    close(loss, case["loss"], rtol=1e-10)  # a missing eps changes the value by 4e-10, relatively
    close(objective.loss(3 * f, y), case["loss_of_3f"], rtol=1e-10)
    close(gradients(loss, f)[0], case["grad_norm_f"])
    assert loss > case["attainable_min"] > case["lower_bound_log(1+(K-1)exp(-2/tau))"]
    close(objective.log_probs(objective.logits(f)).exp().amax(1), case["msp_raw_softmax"])
    close((-objective.ood_score(objective.logits(f))).exp(), case["msp_raw_softmax"])
    normalised = f / (f.norm(dim=1, keepdim=True) + case["eps"]) / case["tau"]  # not used by this project
    close(objective.log_probs(normalised).exp().amax(1), case["msp_normalised_over_tau"])
    if dtype == torch.float32:
        close(loss, case["loss_float32"])


@PRECISION
@cases("focal")
def test_focal(case: dict[str, Any], dtype: torch.dtype) -> None:
    f, y = recipe.logit_inputs(case["B"], case["K"])
    check_inputs(case, y, f=f)
    f = f.to(dtype).requires_grad_()
    loss = identity_head(Focal(case["K"], case["K"], case["gamma"]), dtype).loss(f, y)
    close(loss, case["loss"])
    close(gradients(loss, f)[0], case["grad_norm_f"])


def test_cross_entropy_is_focal_of_gamma_0() -> None:
    case = GOLDEN["focal"][0]
    assert case["gamma"] == 0
    f, y = recipe.logit_inputs(case["B"], case["K"])
    loss = identity_head(CrossEntropy(case["K"], case["K"], 0.0), torch.float64).loss(f.requires_grad_(), y)
    close(loss, case["loss"])
    close(gradients(loss, f)[0], case["grad_norm_f"])


# ---- GHM-C


def ghm(case: dict[str, Any], dtype: torch.dtype) -> GHMC:
    return identity_head(GHMC(case["K"], case["K"], case["bins"], case["momentum"], loss_weight=1.0), dtype)


def weights_of(counts: list[int], pred: Tensor, target: Tensor) -> list[list[float]]:
    """Return the weight of each cell, given the counts: cells / (bins that are not empty) / cells of the bin."""
    cell_bin = ((pred.sigmoid() - target).abs() * len(counts)).long().clamp_max(len(counts) - 1)
    return (pred.numel() / sum(n > 0 for n in counts) / torch.tensor(counts).double()[cell_bin]).tolist()


@PRECISION
def test_ghm_without_momentum(dtype: torch.dtype) -> None:
    case = GOLDEN["ghmc"][0]
    pred, y, target = recipe.ghm_inputs(case["B"], case["K"])
    check_inputs(case, y, pred=pred)
    objective = ghm(case, dtype)
    weights = objective.weights(pred.to(dtype), target.to(dtype))
    close(weights, weights_of(case["counts"], pred, target))
    close(weights.sum(), case["weights_sum"])
    pred = pred.to(dtype).requires_grad_()
    loss = objective.loss(pred, y)
    close(loss, case["loss"])
    close(gradients(loss, pred)[0], case["grad_norm_pred"])


@PRECISION
def test_ghm_with_momentum_over_two_steps(dtype: torch.dtype) -> None:
    case = GOLDEN["ghmc"][1]
    objective = ghm(case, dtype)
    for step in case["per_step"]:
        pred, y, _ = recipe.ghm_inputs(case["B"], case["K"], step["step"])
        check_inputs({"inputs": step["inputs"] | case["inputs"]}, y, pred=pred)
        before = objective.acc.clone()
        pred = pred.to(dtype).requires_grad_()
        loss = objective.loss(pred, y)
        close(loss, step["loss"])
        close(gradients(loss, pred)[0], step["grad_norm_pred"])
        close(objective.acc, step["acc_sum_after"])
        close((objective.acc - case["momentum"] * before) / (1 - case["momentum"]), step["counts"])


@PRECISION
def test_ghm_counts_the_cell_whose_g_is_1(dtype: torch.dtype) -> None:
    case = GOLDEN["ghmc"][2]
    pred, y, target = recipe.ghm_inputs(case["B"], case["K"])
    pred[0, 0] = 60.0
    objective = ghm(case, dtype)
    weights = objective.weights(pred.to(dtype), target.to(dtype))
    close(weights, weights_of(case["counts"], pred, target))
    close(weights[0, 0], case["weight00"])
    pred = pred.to(dtype).requires_grad_()
    loss = objective.loss(pred, y)
    close(loss, case["loss"])
    close(torch.autograd.grad(loss, pred)[0][0, 0], case["grad00"])


# ---- Circle


@PRECISION
@cases("circle_pairwise")
def test_circle_of_pairs(case: dict[str, Any], dtype: torch.dtype) -> None:
    x, y = recipe.circle_inputs(case["B"], case["D"], case["n_classes"])
    check_inputs(case, y, x=x)
    x = x.to(dtype).requires_grad_()
    args = (case["m"], case["gamma"], 16)
    batch = Circle(case["D"], case["n_classes"], "pairwise_global", *args).to(dtype).loss(x, y)
    close(batch, case["global_loss"])
    close(gradients(batch, x)[0], case["global_grad_norm_x_alpha_detached"])
    anchor = Circle(case["D"], case["n_classes"], "pairwise_per_anchor", *args).to(dtype).loss(x, y)
    close(anchor, case["per_anchor_loss"])
    close(anchor, sum(case["per_anchor_values"]) / case["B"])  # all of them are > 0
    close(gradients(anchor, x)[0], case["per_anchor_grad_norm_x"])
    if dtype == torch.float32:
        close(batch, case["global_loss_stable_float32"])


@PRECISION
@cases("circle_class_level")
def test_circle_of_prototypes(case: dict[str, Any], dtype: torch.dtype) -> None:
    x, y, prototypes = recipe.circle_cls_inputs(case["B"], case["K"], case["D"])
    check_inputs(case, y, x=x, W=prototypes)
    objective = Circle(case["D"], case["K"], "class_level", case["m"], case["gamma"], 16).to(dtype)
    objective.prototypes.data.copy_(prototypes)
    x = x.to(dtype).requires_grad_()
    loss = objective.loss(x, y)
    close(loss, case["loss"])
    close(loss, case["direct_formula_loss"])
    to_x, to_prototypes = gradients(loss, x, objective.prototypes)
    close(to_x, case["grad_norm_x"])
    close(to_prototypes, case["grad_norm_W"])
    logits = objective.logits(x)
    assert objective.log_probs(logits).argmax(1).tolist() == case["pred_argmax_cos"]
    close(-objective.ood_score(logits), case["max_cos"])
