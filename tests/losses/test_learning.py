"""The losses of the papers learn a small problem; their scores rise between the classes."""

from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from helpers.losses import build_loss
from torch import Tensor, nn

from oodbench.evaluation.metrics import auroc
from oodbench.losses.objective import Objective

FEATURES, CLASSES = 32, 4
known_loss = pytest.mark.parametrize(
    "name",
    [
        "ce",
        "ce label_smoothing=0.1",
        "focal",
        "logitnorm",
        "elogitnorm",
        "t2fnorm",
        "isomax",
        "ghm",
        "ghm momentum=0",
        "circle",
        "circle variant=pairwise_global",
        "circle variant=pairwise_per_anchor",
        "halo",
        "halo variant=notes",
        "halo distill=false",
        "halo learn_gamma=false",
    ],
)


class Trained(NamedTuple):
    objective: Any
    features: Tensor  # of held-out points
    labels: Tensor
    halfway: Tensor  # features of points halfway between two classes
    accuracy_before: float


def points(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
    """-> (size, CLASSES), (size,). A class is two clusters opposite each other, so no linear function separates it."""
    labels = torch.arange(size) % CLASSES
    side = torch.randint(2, (size, 1), generator=generator) * 2 - 1
    clusters = 3 * side * torch.eye(CLASSES)[labels]
    return clusters + 0.5 * torch.randn(size, CLASSES, generator=generator), labels


def predict(objective: Objective, features: Tensor) -> Tensor:
    return objective.log_probs(objective.logits(features)).argmax(1)


@cache
def trained(name: str) -> Trained:
    objective = build_loss(name, FEATURES, CLASSES)
    generator = torch.Generator().manual_seed(0)
    (x, y), (test_x, test_y) = points(generator, 256), points(generator, 400)
    torch.default_generator.manual_seed(0)
    network = nn.Sequential(nn.Linear(CLASSES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))

    def accuracy() -> float:
        with torch.no_grad():
            objective.finalize(network(x), y)
            return (predict(objective, network(test_x)) == test_y).float().mean().item()

    before = accuracy()
    optimizer = torch.optim.Adam([*network.parameters(), *objective.parameters()], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        objective.loss(network(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        objective.finalize(network(x), y)
        halfway = (test_x + test_x.roll(1, 0)) / 2  # of each point and the next, which is of the next class
        return Trained(objective, network(test_x), test_y, network(halfway), before)


@known_loss
def test_a_small_problem_is_learned(name: str) -> None:
    run = trained(name)
    assert run.accuracy_before < 0.8
    assert (predict(run.objective, run.features) == run.labels).float().mean() > 0.95


@known_loss
def test_points_between_two_classes_score_higher(name: str) -> None:
    run = trained(name)
    known, between = (run.objective.ood_score(run.objective.logits(f)).detach() for f in (run.features, run.halfway))
    assert known.isfinite().all()
    assert between.isfinite().all()
    assert auroc(known.numpy(), between.numpy()) > 0.8
