"""Circle loss: the formula of each variant, overflow, prototypes."""

import pytest
import torch
from helpers.losses import HOSTILE, B, D, K, close, draw, gradients, property_test, seeds
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.circle import Circle, class_level_loss, pairwise_loss, pull_and_push


def exponents_written_out(s: Tensor, same: bool, m: float, gamma: float) -> Tensor:
    if same:
        return -gamma * (1 + m - s).detach().clamp_min(0) * (s - (1 - m))
    return gamma * (s + m).detach().clamp_min(0) * (s - m)


def pairs_written_out(x: Tensor, y: Tensor, m: float, gamma: float, per_anchor: bool) -> Tensor:
    """exp, sum, log over lists of pairs; overflows where gamma is large."""
    unit, n = x / x.norm(dim=1, keepdim=True), len(x)

    def of(pairs: list[tuple[int, int]]) -> Tensor | None:
        terms: dict[bool, list[Tensor]] = {True: [], False: []}
        for i, j in pairs:
            same = bool(y[i] == y[j])
            terms[same].append(exponents_written_out(unit[i] @ unit[j], same, m, gamma).exp())
        return torch.log(1 + sum(terms[True]) * sum(terms[False])) if terms[True] and terms[False] else None

    if per_anchor:
        values = [of([(i, j) for j in range(n) if j != i]) for i in range(n)]
    else:
        values = [of([(i, j) for i in range(n) for j in range(i + 1, n)])]
    kept = [value for value in values if value is not None and value > 0]
    return sum(kept) / len(kept) if kept else 0 * x.sum()


@pytest.mark.parametrize("per_anchor", [False, True])
@property_test(
    seed=seeds,
    size=st.integers(1, 7),
    classes=st.integers(1, 4),
    m=st.sampled_from([0.1, 0.25, 0.4]),
    gamma=st.sampled_from([1.0, 16.0]),
)
def test_pairwise_loss_equals_its_formula(
    per_anchor: bool, seed: int, size: int, classes: int, m: float, gamma: float
) -> None:
    x, y = draw(seed, size)
    x, y = x.double().requires_grad_(), y % classes
    actual = pairwise_loss(x, y, m, gamma, per_anchor)
    expected = pairs_written_out(x, y, m, gamma, per_anchor)
    close(actual, expected, rtol=1e-8)
    close(torch.autograd.grad(actual, x)[0], torch.autograd.grad(expected, x)[0], rtol=1e-7, atol=1e-10)


@property_test(seed=seeds, m=st.sampled_from([0.1, 0.25, 0.4]), gamma=st.sampled_from([1.0, 16.0]))
def test_class_level_loss_equals_its_formula(seed: int, m: float, gamma: float) -> None:
    x, y = draw(seed)
    x = x.double().requires_grad_()
    torch.default_generator.manual_seed(seed)
    objective = Circle(D, K, "class_level", m, gamma, 16).double()
    unit = objective.prototypes / objective.prototypes.norm(dim=1, keepdim=True)
    losses = []
    for x_i, own in zip(x, y.tolist(), strict=True):
        s = unit @ x_i / x_i.norm()
        others = sum(exponents_written_out(s[k], False, m, gamma).exp() for k in range(K) if k != own)
        losses.append(torch.log(1 + others * exponents_written_out(s[own], True, m, gamma).exp()))
    actual, expected = objective.loss(x, y), sum(losses) / B
    close(actual, expected)
    for a, e in zip(gradients(actual, objective, x), gradients(expected, objective, x), strict=True):
        close(a, e, rtol=1e-7, atol=1e-10)


def test_the_factors_pass_no_gradient() -> None:
    m, gamma = 0.25, 64.0
    s = torch.tensor([-0.9, -0.2, -0.1, 0.1, 0.9], dtype=torch.float64, requires_grad=True)
    push = torch.autograd.grad(pull_and_push(s, torch.zeros(5, dtype=torch.bool), m, gamma).sum(), s)[0]
    pull = torch.autograd.grad(pull_and_push(s, torch.ones(5, dtype=torch.bool), m, gamma).sum(), s)[0]
    s = s.detach()
    close(push, gamma * (s + m).clamp_min(0))  # undetached: 2 gamma s, which pulls s in (-m, 0) UP
    close(pull, -gamma * (1 + m - s).clamp_min(0))  # undetached: 2 gamma (s - 1)
    assert (push[1:3] > 0).all()
    assert (2 * gamma * s[1:3] < 0).all()


@pytest.mark.parametrize("variant", ["pairwise_global", "pairwise_per_anchor"])
@pytest.mark.parametrize("hostile", ["one class only", "no positive pair", "a batch of one", "two images, one class"])
def test_loss_without_positives_or_negatives_is_zero(variant: str, hostile: str) -> None:
    x, y = HOSTILE[hostile]
    x = x.clone().requires_grad_()
    loss = Circle(D, K, variant, 0.25, 256, 16).loss(x, y)
    assert loss == 0
    assert torch.equal(torch.autograd.grad(loss, x)[0], torch.zeros_like(x))


def test_anchors_without_a_positive_are_skipped() -> None:
    x, _ = draw(size=4)
    y = torch.tensor([0, 0, 1, 2])  # the last two have no positive; they are negatives of the first two all the same
    x = x.double().requires_grad_()
    loss = pairwise_loss(x, y, 0.25, 4.0, per_anchor=True)
    anchors = [pairs_of_anchor(x, y, i) for i in (0, 1)]
    close(loss, sum(anchors) / 2)
    assert (torch.autograd.grad(loss, x)[0].norm(dim=1) > 0)[:3].all()


def pairs_of_anchor(x: Tensor, y: Tensor, i: int) -> Tensor:
    s = F.normalize(x) @ F.normalize(x)[i]
    same = (y == y[i]).logical_and(torch.arange(len(y)) != i)
    pull = exponents_written_out(s[same], True, 0.25, 4.0).logsumexp(0)
    return F.softplus(pull + exponents_written_out(s[y != y[i]], False, 0.25, 4.0).logsumexp(0))


@pytest.mark.parametrize("gamma", [64.0, 256.0])
def test_loss_is_finite_where_its_exponential_overflows(gamma: float) -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    y = torch.tensor([0, 0, 1])  # its partner opposite, the other class on top of it
    worst = pull_and_push(torch.tensor(-1.0), torch.tensor(True), 0.25, gamma)
    assert worst == gamma * 2.25 * 1.75
    assert worst.exp().isinf()
    for per_anchor in (False, True):
        loss = pairwise_loss(x, y, 0.25, gamma, per_anchor)
        assert loss.isfinite()
        assert loss > worst
        assert torch.autograd.grad(loss, x)[0].isfinite().all()
    loss = class_level_loss(torch.tensor([[-1.0, 1.0]]), torch.tensor([0]), 0.25, gamma)
    close(loss, worst + gamma * 1.25 * 0.75, rtol=1e-6)


def test_loss_of_separated_classes_is_zero() -> None:
    x = torch.tensor([[1.0, 0], [2.0, 0], [-1.0, 0], [-3.0, 0]])
    y = torch.tensor([0, 0, 1, 1])
    for per_anchor in (False, True):
        assert pairwise_loss(x, y, 0.25, 1024.0, per_anchor) < 1e-6


@pytest.mark.parametrize("variant", ["pairwise_global", "pairwise_per_anchor"])
def test_finalize_sets_prototypes_to_mean_directions(variant: str) -> None:
    objective = Circle(D, K, variant, 0.25, 64, 16)
    x, y = draw(size=40)
    x = x * torch.linspace(0.1, 100, 40)[:, None]  # length must not count
    assert objective.logits(x).isnan().all()  # until then, it cannot classify
    objective.finalize(x, y)
    for k in range(K):
        mean = F.normalize(x[y == k]).mean(0)
        close(objective.prototypes[k], mean / mean.norm(), rtol=1e-5, atol=1e-6)
    assert not objective.prototypes.requires_grad


def test_finalize_keeps_learned_prototypes() -> None:
    objective = Circle(D, K, "class_level", 0.25, 64, 16)
    before = objective.prototypes.detach().clone()
    objective.finalize(*draw())
    assert torch.equal(objective.prototypes, before)


def test_prototypes_start_as_a_linear_layer_without_bias() -> None:
    torch.default_generator.manual_seed(3)
    objective = Circle(D, K, "class_level", 0.25, 64, 16)
    torch.default_generator.manual_seed(3)
    assert torch.equal(objective.prototypes, nn.Linear(D, K, bias=False).weight)


@pytest.mark.parametrize("variant", ["class_level", "pairwise_global", "pairwise_per_anchor"])
def test_logits_are_scaled_cosines(variant: str) -> None:
    torch.default_generator.manual_seed(0)
    objective = Circle(D, K, variant, 0.25, 64, scale=10)
    objective.finalize(torch.randn(40, D), torch.arange(40) % K)
    x = draw()[0]
    cosine = F.cosine_similarity(x[:, None], objective.prototypes[None], dim=2)
    logits = objective.logits(x)
    close(logits, 10 * cosine, rtol=1e-5, atol=1e-5)
    close(objective.log_probs(logits), (10 * cosine).log_softmax(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(objective.log_probs(logits).argmax(1), cosine.argmax(1))
    close(objective.ood_score(logits), -cosine.amax(1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("variant", "gamma", "scale", "named"),
    [
        ("pairwise", 64, 16, "variant is 'pairwise'.*pairwise_per_anchor"),
        ("class_level", 0, 16, "gamma is 0"),
        ("class_level", 64, -1, "scale is -1"),
    ],
)
def test_senseless_hyperparameters_are_named(variant: str, gamma: float, scale: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Circle(D, K, variant, 0.25, gamma, scale)


def test_the_head_is_not_linear() -> None:
    assert Circle(D, K, "class_level", 0.25, 64, 16).linear() is None
