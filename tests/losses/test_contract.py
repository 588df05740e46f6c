"""What every loss must keep to. A file in conf/loss is found here by itself; nothing is to be added for a new one."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache, partial
from io import BytesIO
from typing import Any, NamedTuple

import pytest
import torch
from helpers.config import composed, names
from hydra.utils import instantiate
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.evaluation.metrics import auroc
from oodbench.losses.objective import Objective

FEATURES, CLASSES = 32, 4


class Newcomer(Objective):
    """L = mean |softmax(f) - onehot(y)|^2: what a contributor writes, and nothing else."""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_features, num_classes)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return (self.logits(features).softmax(1) - F.one_hot(labels, CLASSES)).square().sum(1).mean()

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        return -logits.logsumexp(1)


@cache
def loss_config(*overrides: str) -> Any:
    return composed("dataset=digits", *overrides).loss


def from_config(*overrides: str) -> Objective:
    return instantiate(loss_config(*overrides), num_features=FEATURES, num_classes=CLASSES)


FOUND = names("loss")
VARIANTS = [  # of single files, which have their own code behind them
    ("ce", "label_smoothing=0.1"),
    ("halo", "variant=notes"),
    ("halo", "distill=false"),
    ("halo", "learn_gamma=false"),
    ("ghm", "momentum=0"),
    ("circle", "variant=pairwise_global"),
    ("circle", "variant=pairwise_per_anchor"),
]
LOSSES: dict[str, Callable[[], Objective]] = {
    **{name: partial(from_config, f"loss={name}") for name in FOUND},
    **{f"{name}, {value}": partial(from_config, f"loss={name}", f"loss.{value}") for name, value in VARIANTS},
    "newcomer": lambda: Newcomer(FEATURES, CLASSES),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def points(generator: torch.Generator, size: int) -> tuple[Tensor, Tensor]:
    """A class is two clusters opposite each other, so that its mean says nothing: (N, CLASSES), (N,)"""
    labels = torch.arange(size) % CLASSES
    side = torch.randint(2, (size, 1), generator=generator) * 2 - 1
    clusters = 3 * side * torch.eye(CLASSES)[labels]
    return clusters + 0.5 * torch.randn(size, CLASSES, generator=generator), labels


class Trained(NamedTuple):
    objective: Any
    features: Tensor  # of held-out points
    labels: Tensor
    strange: Tensor  # features of points halfway between two classes
    accuracy_before: float


@cache
def objective_of(name: str) -> Any:
    torch.default_generator.manual_seed(0)
    return LOSSES[name]()


def draw(size: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, FEATURES, generator=generator), torch.randint(CLASSES, (size,), generator=generator)


def fresh(name: str) -> Any:
    """As drawn, and settled, so that it can classify."""
    objective = deepcopy(objective_of(name))
    features, labels = draw(50)
    objective.finalize(features, labels)
    return objective


@cache
def trained(name: str) -> Trained:
    generator = torch.Generator().manual_seed(0)
    (x, y), (test_x, test_y) = points(generator, 256), points(generator, 400)
    torch.default_generator.manual_seed(0)
    network = nn.Sequential(nn.Linear(CLASSES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES))
    objective = deepcopy(objective_of(name))

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
        halfway = (test_x + test_x.roll(1, 0)) / 2  # each point and the next, of the next class
        return Trained(objective, network(test_x), test_y, network(halfway), before)


def predict(objective: Objective, features: Tensor) -> Tensor:
    return objective.log_probs(objective.logits(features)).argmax(1)


def test_every_file_is_found() -> None:
    assert len(FOUND) >= 6
    assert {name for name, _ in VARIANTS} <= set(FOUND)


@every_loss
@pytest.mark.parametrize("size", [1, 2, 7])
def test_shapes(name: str, size: int) -> None:
    objective = fresh(name)
    features, labels = draw(size)
    loss, logits = objective.loss(features, labels), objective.logits(features)
    assert loss.shape == ()
    assert logits.shape[0] == size
    assert logits.shape[1] >= CLASSES
    assert objective.log_probs(logits).shape == (size, CLASSES)
    assert objective.ood_score(logits).shape == (size,)
    assert all(value.shape == () for value in objective.diagnostics(features, labels).values())


@every_loss
def test_gradients_reach_the_features_and_every_parameter(name: str) -> None:
    objective = fresh(name)
    features, labels = draw(40)
    features.requires_grad_()
    objective.loss(features, labels).backward()
    learned = {key: p for key, p in objective.named_parameters() if p.requires_grad}
    for key, tensor in {"features": features, **learned}.items():
        assert tensor.grad is not None, key
        assert tensor.grad.isfinite().all(), key
        assert (tensor.grad != 0).any(), key


@every_loss
def test_the_prediction_is_the_largest_of_the_first_logits_and_probabilities_are_shares(name: str) -> None:
    objective = fresh(name)
    logits = objective.logits(draw(200)[0])
    log_probs = objective.log_probs(logits)
    assert torch.equal(log_probs.argmax(1), logits[:, :CLASSES].argmax(1))
    assert len(log_probs.argmax(1).unique()) == CLASSES
    probabilities = log_probs.double().exp()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


@every_loss
def test_a_tiny_problem_is_learnt(name: str) -> None:
    run = trained(name)
    assert run.accuracy_before < 0.8
    assert (predict(run.objective, run.features) == run.labels).float().mean() > 0.95


@every_loss
def test_what_lies_halfway_between_two_classes_is_stranger(name: str) -> None:
    run = trained(name)
    known, strange = (run.objective.ood_score(run.objective.logits(f)).detach() for f in (run.features, run.strange))
    assert known.isfinite().all()
    assert strange.isfinite().all()
    assert auroc(known.numpy(), strange.numpy()) > 0.8


def through_torch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    buffer = BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def through_safetensors(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return load_safetensors(save_safetensors(state))


@every_loss
@pytest.mark.parametrize("through", [through_torch, through_safetensors])
def test_state_goes_through_a_checkpoint(name: str, through: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    run = trained(name)
    before = deepcopy(run.objective)
    after = LOSSES[name]()  # with other random weights
    after.load_state_dict(through(before.state_dict()))
    for objective in (before, after):
        objective.train()
    features, labels = run.features, run.labels
    for _ in range(2):  # twice: what a step leaves in a buffer counts too
        assert torch.equal(before.loss(features, labels), after.loss(features, labels))
    logits = after.logits(features)
    assert torch.equal(before.logits(features), logits)
    assert torch.equal(before.log_probs(logits), after.log_probs(logits))
    assert torch.equal(before.ood_score(logits), after.ood_score(logits))


@every_loss
def test_reading_and_watching_change_nothing_and_neither_does_a_loss_in_evaluation(name: str) -> None:
    objective = fresh(name)
    features, labels = draw(40)
    objective.loss(features, labels)
    state = deepcopy(objective.state_dict())
    logits = objective.logits(features)
    objective.log_probs(logits), objective.ood_score(logits), objective.diagnostics(features, labels)
    objective.eval().loss(features, labels)
    for key, tensor in objective.state_dict().items():
        assert torch.equal(tensor, state[key]), key


@every_loss
def test_precision_is_its_own_whatever_the_backbone_runs_in(name: str) -> None:
    objective = fresh(name)
    features, labels = draw(40)
    loss, logits = deepcopy(objective).loss(features, labels), objective.logits(features)
    low = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective.loss(features, labels), loss)
        assert torch.equal(objective.logits(features), logits)
        for reading in (objective.log_probs, objective.ood_score):
            assert torch.equal(reading(low), reading(low.float()))
            assert reading(logits.double()).dtype == torch.float64  # as evaluation reads them


@every_loss
def test_parameters_spared_from_decay_exist(name: str) -> None:
    objective = objective_of(name)
    assert set(objective.no_weight_decay) <= dict(objective.named_parameters()).keys()
