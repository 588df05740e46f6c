"""The interface that every loss keeps. Each file of conf/loss is found; a new loss needs no line here."""

from copy import deepcopy
from io import BytesIO
from typing import Any

import pytest
import torch
from helpers.losses import (
    HOSTILE,
    LOSSES,
    ORDINARY,
    VARIANTS,
    B,
    D,
    K,
    build_loss,
    draw,
    gradients,
    identity_head,
    loss_config,
)
from hydra.utils import instantiate
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from oodbench.losses.objective import Objective


class Minimal(Objective):
    """L = mean_i |softmax(f_i) - onehot(y_i)|^2, with the abstract methods and nothing else"""

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(num_features, num_classes)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return (self.logits(features).softmax(1) - F.one_hot(labels, K)).square().sum(1).mean()

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        return -logits.logsumexp(1)


every_loss = pytest.mark.parametrize("name", [*LOSSES, *VARIANTS, "minimal"])
both_formats = pytest.mark.parametrize("file_format", ["torch", "safetensors"])


def drawn(name: str, seed: int = 0) -> Any:
    """Return the loss as training begins with it."""
    if name == "minimal":
        torch.default_generator.manual_seed(seed)
        return Minimal(D, K)
    return build_loss(name, seed=seed)


def finalized(name: str) -> Any:
    """Return a loss that can classify."""
    objective = drawn(name)
    objective.finalize(torch.randn(4 * K, D, generator=torch.Generator().manual_seed(0)), torch.arange(4 * K) % K)
    return objective


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_of_files_in_conf(variant: str) -> None:
    assert variant.split()[0] in LOSSES


@every_loss
@pytest.mark.parametrize("size", [1, 2, 7])
def test_shapes(name: str, size: int) -> None:
    objective = finalized(name)
    features, labels = draw(size=size)
    logits = objective.logits(features)
    assert objective.loss(features, labels).shape == ()
    assert logits.shape[0] == size
    assert logits.shape[1] >= K
    assert objective.log_probs(logits).shape == (size, K)
    assert objective.ood_score(logits).shape == (size,)
    assert all(value.shape == () for value in objective.diagnostics(features, labels).values())


@every_loss
def test_gradients_reach_the_features_and_every_parameter(name: str) -> None:
    objective = finalized(name)
    features, labels = draw(size=40)
    features.requires_grad_()
    objective.loss(features, labels).backward()
    learned = {key: p for key, p in objective.named_parameters() if p.requires_grad}
    for key, tensor in {"features": features, **learned}.items():
        assert tensor.grad is not None, key
        assert tensor.grad.isfinite().all(), key
        assert (tensor.grad != 0).any(), key


@every_loss
def test_the_prediction_is_the_largest_class_logit(name: str) -> None:
    objective = finalized(name)
    real = objective.logits(draw(size=200)[0])
    every_class = torch.stack([torch.linspace(-0.9, 0.9, real.shape[1]).roll(shift) for shift in range(real.shape[1])])
    for logits in (real, every_class):
        assert torch.equal(objective.log_probs(logits).argmax(1), logits[:, :K].argmax(1))
    assert len(objective.log_probs(every_class).argmax(1).unique()) == K


@every_loss
def test_probabilities_are_shares(name: str) -> None:
    objective = finalized(name)
    probabilities = objective.log_probs(objective.logits(draw(size=200)[0])).double().exp()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()


@every_loss
def test_a_linear_head_is_the_one_that_is_stated(name: str) -> None:
    objective = finalized(name)
    if (linear := objective.linear()) is not None:
        W, b = linear
        features = draw(size=40)[0]
        bound = 1e-5 * (features.abs() @ W.abs().T + b.abs())  # float32 rounding of D + 1 terms, with room
        assert ((objective.logits(features)[:, :K] - features @ W.T - b).abs() <= bound).all()


# ---- state


def reloaded(state: dict[str, Tensor], file_format: str) -> dict[str, Tensor]:
    if file_format == "safetensors":
        return load_safetensors(save_safetensors(state))
    buffer = BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@every_loss
@both_formats
def test_state_survives_a_file(name: str, file_format: str) -> None:
    before, after = finalized(name), drawn(name, seed=1)
    features, labels = draw()
    before.loss(features, labels)
    after.load_state_dict(reloaded(before.state_dict(), file_format))
    for _ in range(2):  # the second loss shows what the first one left in a buffer
        assert torch.equal(before.loss(features, labels), after.loss(features, labels))
    logits = after.logits(features)
    assert torch.equal(before.logits(features), logits)
    assert torch.equal(before.log_probs(logits), after.log_probs(logits))
    assert torch.equal(before.ood_score(logits), after.ood_score(logits))


@every_loss
def test_only_a_training_loss_changes_the_state(name: str) -> None:
    objective = finalized(name)
    features, labels = draw(size=40)
    objective.loss(features, labels)
    state = deepcopy(objective.state_dict())
    logits = objective.logits(features)
    objective.log_probs(logits), objective.ood_score(logits), objective.diagnostics(features, labels)
    objective.eval().loss(features, labels)
    for key, tensor in objective.state_dict().items():
        assert torch.equal(tensor, state[key]), key


@every_loss
def test_parameters_without_decay_exist(name: str) -> None:
    objective = drawn(name)
    assert set(objective.no_weight_decay) <= dict(objective.named_parameters()).keys()


# ---- hostile input


@every_loss
@pytest.mark.parametrize("hostile", HOSTILE)
def test_everything_is_finite_on_hostile_features(name: str, hostile: str) -> None:
    features, labels = HOSTILE[hostile]
    for objective in (finalized(name), identity_head(finalized(name), torch.float32)):
        features = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss, logits = objective.loss(features, labels), objective.logits(features)
            results = objective.log_probs(logits), objective.ood_score(logits)
        assert loss.shape == ()
        for tensor in (loss, logits, *results, *gradients(loss, objective, features)):
            assert tensor.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_of_1e4_have_finite_probabilities(name: str, dtype: torch.dtype) -> None:
    objective = finalized(name)
    columns = objective.logits(ORDINARY).shape[1]
    logits = torch.tensor([[1e4, -1e4] * columns, [-1e4] * 2 * columns, [0.0] * 2 * columns], dtype=dtype)[:, :columns]
    log_probs = objective.log_probs(logits)
    assert log_probs.shape == (3, K)
    assert log_probs.isfinite().all()
    assert (log_probs <= 0).all()
    assert objective.ood_score(logits).isfinite().all()


# ---- precision


@every_loss
def test_autocast_around_it_changes_no_bit(name: str) -> None:
    def everything(autocast: bool) -> list[Tensor]:
        objective = drawn(name)
        features, labels = draw(scale=3)
        features.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            objective.finalize(features.detach(), torch.arange(B) % K)
            loss, logits = objective.loss(features, labels), objective.logits(features)
            results = [objective.log_probs(logits), objective.ood_score(logits)]
            diagnostics = objective.diagnostics(features, labels).values()
        state = objective.state_dict().values()
        return [loss, logits, *results, *diagnostics, *state, *gradients(loss, objective, features)]

    for outside, inside in zip(everything(autocast=False), everything(autocast=True), strict=True):
        assert outside.dtype == inside.dtype == torch.float32
        assert torch.equal(outside, inside)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_cast_up_first(name: str, dtype: torch.dtype) -> None:
    features, labels = draw()
    features = features.to(dtype)
    loss = finalized(name).loss(features, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, finalized(name).loss(features.float(), labels))
    objective = finalized(name)
    logits = objective.logits(features)
    assert torch.equal(logits, objective.logits(features.float()))
    low = logits.to(dtype)
    assert torch.equal(objective.log_probs(low), objective.log_probs(low.float()))
    assert torch.equal(objective.ood_score(low), objective.ood_score(low.float()))


@every_loss
def test_float64_stays_float64_and_float32_agrees(name: str) -> None:
    features, labels = draw()

    def everything(dtype: torch.dtype) -> list[Tensor]:
        objective = finalized(name).to(dtype)
        loss = objective.loss(features.to(dtype), labels)
        logits = objective.logits(features.to(dtype))
        return [loss, logits, objective.log_probs(logits), objective.ood_score(logits)]

    for wide, narrow in zip(everything(torch.float64), everything(torch.float32), strict=True):
        assert wide.dtype == torch.float64
        assert narrow.dtype == torch.float32
        torch.testing.assert_close(narrow.double(), wide, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*LOSSES, *VARIANTS])
def test_no_step_reads_a_value_on_the_host(name: str) -> None:
    with FakeTensorMode():  # tensors without values: reading one, or making a shape of one, raises
        objective = instantiate(loss_config(name), num_features=D, num_classes=K)
        features = torch.randn(B, D).requires_grad_()
        labels = torch.zeros(B, dtype=torch.long)
        objective.loss(features, labels).backward()
        objective.log_probs(objective.logits(features))
        objective.diagnostics(features, labels)
        assert features.grad is not None
        assert features.grad.shape == (B, D)
