"""The trial of a loss: every loss passes, and each slip of a new one is named before a training begins."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from helpers.losses import LOSSES, VARIANTS, build_loss
from helpers.training import classifier, train
from torch import Tensor

from oodbench.losses.objective import SoftmaxObjective
from oodbench.losses.trial import FIXED_COLUMNS, try_out

D, K = 6, 3


@pytest.mark.parametrize("name", [*LOSSES, *VARIANTS])
@pytest.mark.parametrize(("features", "classes"), [(3, 2), (12, 5), (4, 10)])
def test_every_loss_passes(name: str, features: int, classes: int) -> None:
    try_out(build_loss(name, features, classes), features, classes)


SLIPS: dict[str, tuple[Callable[..., Any], str]] = {
    "loss": (lambda self, f, y: (self.logits(f), 0), "a tuple was returned; a scalar tensor with a gradient"),
    "loss of each": (lambda self, f, y: self.logits(f).sum(1), r"float32 tensor of \(6,\) was returned; a scalar"),
    "loss alone": (lambda self, f, y: torch.zeros(()), r"tensor of \(\) without a gradient was returned"),
    "logits": (lambda self, f: self.head(f)[:, 1:], r"of \(6, 2\).* for 6 images; a float tensor of \(6, 3\)"),
    "log_probs": (lambda self, z: z.log_softmax(1)[:, 1:], r"float64 tensor of \(6, 2\)"),
    "log_probs of a certain class": (
        lambda self, z: (z == z.max(1, keepdim=True).values).log().double(),
        "NaN or infinite",
    ),
    "ood_score": (lambda self, z: z.logsumexp(1, keepdim=True), r"of \(6, 1\).* a float tensor of \(6,\) is needed"),
    "ood_score of bools": (lambda self, z: z.max(1).values > 0, "a bool tensor"),
    "ood_score raised": (lambda self, z: z[:, 7].sum(), "index 7 is out of bounds"),
    "diagnostics": (
        lambda self, f, y: {"norm": f.norm(dim=1)},
        r"norm is a float32 tensor of \(6,\) without a gradient; a",
    ),
    "diagnostics of numbers": (lambda self, f, y: {"norm": 1.0}, "norm is a float; a scalar float tensor is needed"),
    "diagnostics over a column": (lambda self, f, y: {"lr": f.mean()}, "lr is a column of every train.csv"),
    "finalize": (lambda self, f, y: f @ f.new_zeros(1, 1), "cannot be multiplied"),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_named_with_its_method(slip: str) -> None:
    method, (code, says) = slip.partition(" ")[0], SLIPS[slip]

    class Mine(SoftmaxObjective):
        def loss(self, features: Tensor, labels: Tensor) -> Tensor:
            return self.logits(features).mean()

    try_out(Mine(D, K), D, K)
    slipped = type("Mine", (Mine,), {method: code})
    with pytest.raises(ValueError, match=rf"Mine\.{method}: .*{says}"):
        try_out(slipped(D, K), D, K)


def test_the_columns_of_every_row_are_known() -> None:
    assert train(classifier("loss=ce"))[0].history[0].keys() == set(FIXED_COLUMNS)
