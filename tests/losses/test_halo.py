"""HALO: the formula of both variants, its constants, its limits."""

import math
import warnings
from typing import Any

import pytest
import torch
from helpers.losses import B, D, K, build_loss, close, draw, gradients, identity_head, property_test, seeds
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.halo import Halo
from oodbench.model import Classifier
from oodbench.training.optimizer import parameter_groups


def halo(variant: str, ls: float = 0.1, distill: bool = True, k: int = K, d: int = D, seed: int = 0) -> Halo:
    """With an identity for its embedding, in float64: features are z."""
    torch.default_generator.manual_seed(seed)
    return identity_head(Halo(d, k, variant, d, ls, distill, True, None, 1.0, None))


def halo_written_out(z: Tensor, y: Tensor, objective: Halo) -> Tensor:
    """The mean loss of one image after the other, as the formulas have it."""
    k, d = objective.centroids.shape
    ls, losses = objective.label_smoothing, []
    c = objective.centroids - objective.centroids.sum(0) / k
    gamma = torch.log1p(objective.raw_gamma.exp())[0]
    g0 = 20 / (1 + 2 / d)
    high, low = (1 - ls + ls / k, ls / k) if ls else (0.99, 0.01 / k)
    bias = torch.tensor(2 * g0 / d - math.log(high / low), dtype=torch.float64)
    for z_i, own in zip(z, y.tolist(), strict=True):
        s = torch.stack([gamma * (2 * z_i @ c_k - c_k @ c_k) / d for c_k in c] + [bias])
        log_p = s - s.exp().sum().log()
        target = torch.zeros(k + 1).double()
        if objective.variant == "notes":
            target += ls / (k + 1)
            target[own] += 1 - ls
            r2 = z_i @ z_i / d
            radial = -((0.5 - 1 / d) * (r2 + 1e-8).log() - r2 / 2)
            if objective.distill:
                m = s.detach().clone()
                m[own] = -torch.inf
                m = m.softmax(0)
                others = [j for j in range(k + 1) if j != own]
                radial = radial + sum(m[j] * (m[j].log() - log_p[j]) for j in others)
        else:
            if objective.distill and ls:
                u = torch.stack([-gamma * (z_i - c_k) @ (z_i - c_k) / d / ls for c_k in c])
                u[own] = 0
                target[:k] = u.softmax(0)
            else:
                target[:k] += 0 if objective.distill else ls / k
                target[own] += 1 if objective.distill else 1 - ls
            r2 = (z_i - c[own]) @ (z_i - c[own]) / d
            radial = -((0.5 - 1 / d) * r2.log() - r2 / 2)
        losses.append(-(target.detach() * log_p).sum() + radial)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("variant", ["published", "notes"])
@property_test(
    seed=seeds,
    ls=st.sampled_from([0.0, 0.1, 0.3]),
    distill=st.booleans(),
    k=st.integers(2, 6),
    d=st.integers(2, 7),
    raw_gamma=st.sampled_from([-3.0, 0.0, 2.0]),
)
def test_loss_equals_its_formula(
    variant: str, seed: int, ls: float, distill: bool, k: int, d: int, raw_gamma: float
) -> None:
    objective = halo(variant, ls, distill, k, d, seed)
    objective.raw_gamma.data.fill_(raw_gamma)
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(4, d, generator=generator).double().requires_grad_()
    y = torch.randint(k, (4,), generator=generator)
    leaves = (z, objective.centroids, objective.raw_gamma)
    actual, expected = objective.loss(z, y), halo_written_out(z, y, objective)
    close(actual, expected)
    for a, e in zip(torch.autograd.grad(actual, leaves), torch.autograd.grad(expected, leaves), strict=True):
        close(a, e, rtol=1e-7, atol=1e-10)


@property_test(seed=seeds)
def test_kl_of_notes_is_minus_log_one_minus_p_y(seed: int) -> None:
    objective = halo("notes", seed=seed)
    objective.raw_gamma.data.fill_(0.3)
    z, y = draw(seed)
    z = z.double()
    without = halo("notes", distill=False, seed=seed)
    without.load_state_dict(objective.state_dict())
    kl = objective.embedded_loss(z, y) - without.embedded_loss(z, y)
    p = objective.logits(z).softmax(1)
    m = objective.logits(z).scatter(1, y[:, None], -torch.inf).softmax(1)
    close(kl, torch.where(m > 0, m * (m.log() - p.log()), 0).sum(1), rtol=1e-7)
    close(kl, -(1 - p.gather(1, y[:, None])[:, 0]).log(), rtol=1e-7)


@pytest.mark.parametrize(("k", "ls"), [(10, 0.1), (10, 0.0), (100, 0.1)])
def test_minimum_of_notes_is_at_half_the_target(k: int, ls: float) -> None:
    objective = halo("notes", ls, k=k, d=k)
    free = torch.zeros(1, k + 1, dtype=torch.float64, requires_grad=True)
    objective.shifted_logits = lambda z: free
    z, y = torch.ones(1, k).double(), torch.tensor([3])
    optimizer = torch.optim.LBFGS([free], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = objective.loss(z, y)
        value.backward()
        return value

    optimizer.step(loss)
    close(free.softmax(1)[0, 3], (1 - ls + ls / (k + 1)) / 2, rtol=1e-6)


def test_the_variants_differ_with_and_without_distillation() -> None:
    z, y = draw()
    for distill in (True, False):
        published, notes = halo("published", distill=distill), halo("notes", distill=distill)
        assert torch.equal(published.logits(z.double()), notes.logits(z.double()))
        difference = published.embedded_loss(z.double(), y) - notes.embedded_loss(z.double(), y)
        assert difference.abs().max() > 0.1


@pytest.mark.parametrize("variant", ["published", "notes"])
def test_a_common_shift_of_the_centroids_changes_nothing(variant: str) -> None:
    objective = halo(variant)
    z, y = draw()
    z = z.double().requires_grad_()

    def everything() -> list[Tensor]:
        loss = objective.loss(z, y)
        return [loss, objective.logits(z), objective.distances(z), *gradients(loss, objective, z)]

    before = everything()
    objective.centroids.data += 5 * torch.arange(D)
    for a, b in zip(everything(), before, strict=True):
        close(a, b, rtol=1e-9, atol=1e-9)
    close(torch.autograd.grad(objective.loss(z, y), objective.centroids)[0].sum(0), torch.zeros(D))  # so none drifts


@property_test(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_distances_rank_like_the_shifted_logits(seed: int, scale: float) -> None:
    objective = halo("published", seed=seed)
    z = draw(seed, scale=scale)[0].double()
    distances = objective.distances(z)
    c = objective.centroids - objective.centroids.mean(0)
    close(distances, -objective.gamma * torch.cdist(z, c).square() / D, rtol=1e-7)
    assert torch.equal(distances.argmax(1), objective.logits(z)[:, :K].argmax(1))


def test_distances_are_never_positive_by_rounding() -> None:
    torch.default_generator.manual_seed(0)
    objective = identity_head(Halo(D, K, "published", D, 0.1, True, True, None, 1.0, None)).float()
    objective.centroids.data *= 100
    z = objective.centres().detach()
    s = objective.shifted_logits(z)[:, :K] - objective.gamma * z.square().mean(1, keepdim=True)
    assert (s > 0).any()
    assert (objective.distances(z) <= 0).all()


@pytest.mark.parametrize("variant", ["published", "notes"])
@pytest.mark.parametrize("d", [2, 3, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_z_on_its_centroid_is_finite(variant: str, d: int, dtype: torch.dtype) -> None:
    objective = halo(variant, d=d).to(dtype)
    y = torch.arange(K)
    z = objective.centres().detach().clone().requires_grad_()
    loss = objective.loss(z, y)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients(loss, objective, z))
    if variant == "published":  # r2 = 0 is clamped inside the logarithm only
        target = objective.targets(z, y)
        cross_entropy = F.cross_entropy(objective.logits(z), target)
        close(loss - cross_entropy, -(0.5 - 1 / d) * math.log(1e-12), rtol=1e-4, atol=1e-5)


def test_published_clamps_no_ordinary_radius() -> None:
    objective = halo("published")
    z, y = objective.centres().detach() + 1e-5, torch.arange(K)  # r2 = 1e-10
    radial = objective.embedded_loss(z, y) - F.cross_entropy(
        objective.logits(z), objective.targets(z, y), reduction="none"
    )
    close(radial, [1e-10 / 2 - (0.5 - 1 / D) * math.log(1e-10)] * K, rtol=1e-7)


def test_radial_term_of_notes_at_zero_is_its_eps() -> None:
    objective = halo("notes", ls=0.0, distill=False, d=64)
    z, y = torch.zeros(K, 64).double().requires_grad_(), torch.arange(K)
    loss = objective.embedded_loss(z, y)
    cross_entropy = F.cross_entropy(objective.logits(z), y, reduction="none")
    close(loss - cross_entropy, [-(0.5 - 1 / 64) * math.log(1e-8)] * K)


def test_distillation_without_smoothing_changes_nothing() -> None:
    z, y = draw()
    z = z.double().requires_grad_()
    on, off = halo("published", ls=0.0), halo("published", ls=0.0, distill=False)
    assert torch.equal(on.embedded_loss(z, y), off.embedded_loss(z, y))
    for a, b in zip(gradients(on.loss(z, y), on, z), gradients(off.loss(z, y), off, z), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(on.targets(z, y)[:, :K], F.one_hot(y, K).double())


def test_soft_target_is_hard_at_first_and_spreads() -> None:
    objective = halo("published", k=10, d=10)
    generator = torch.Generator().manual_seed(0)
    z, y = torch.randn(50, 10, generator=generator).double(), torch.arange(50) % 10
    hard = objective.targets(z, y)
    close(hard.gather(1, y[:, None]), torch.ones(50, 1), rtol=0, atol=1e-6)
    objective.raw_gamma.data.fill_(math.log(math.expm1(0.5)))
    soft = objective.targets(z, y)
    close(soft.sum(1), torch.ones(50))
    assert (soft[:, -1] == 0).all()
    assert (soft.gather(1, y[:, None])[:, 0] < 0.95).any()
    close(soft.gather(1, y[:, None]).amax(1), soft.amax(1))  # the true class's logit 0 is above all others'


def test_published_target_passes_no_gradient() -> None:
    objective = halo("published")
    objective.raw_gamma.data.fill_(math.log(math.expm1(0.5)))
    z, y = draw()
    z = z.double().requires_grad_()
    target = objective.targets(z, y)
    assert not target.requires_grad
    r2 = (z - objective.centres()[y]).square().mean(1)
    constant = F.cross_entropy(objective.logits(z), target) + (r2 / 2 - (0.5 - 1 / D) * r2.log()).mean()
    leaves = (z, objective.centroids, objective.raw_gamma)
    actual, expected = torch.autograd.grad(objective.loss(z, y), leaves), torch.autograd.grad(constant, leaves)
    for a, e in zip(actual, expected, strict=True):
        close(a, e)


@pytest.mark.parametrize("variant", ["published", "notes"])
def test_abstain_logit_stays_while_gamma_is_learned(variant: str) -> None:
    objective = halo(variant)
    z = draw()[0].double()
    for raw_gamma in (-5.0, 0.5, 16.0, 30.0):
        objective.raw_gamma.data.fill_(raw_gamma)
        close(objective.logits(z)[:, -1], [80 / (2 * D + 4) - math.log(0.92 / 0.02)] * B)


def test_probabilities_are_of_all_columns() -> None:
    objective = halo("published")
    logits = torch.tensor([[1.0, 2, 3, 4, 5, 50], [5.0, 1, 1, 1, 1, -50]])
    log_probs, abstain = objective.log_probs(logits), objective.ood_score(logits)
    close(log_probs.exp().sum(1) + abstain.exp(), torch.ones(2), rtol=1e-6)
    close(log_probs[0], logits[0, :5] - 50, rtol=1e-6)
    assert log_probs.argmax(1).tolist() == [4, 0]
    assert abstain[0] > abstain[1]


def test_collapsed_gamma_is_finite_and_in_diagnostics() -> None:
    objective = halo("published").float()
    z, y = draw()
    for raw_gamma, gamma in ((-20.0, 2.06e-9), (-200.0, 0.0), (100.0, 100.0)):
        objective.raw_gamma.data.fill_(raw_gamma)
        z = z.detach().requires_grad_()
        assert all(gradient.isfinite().all() for gradient in gradients(objective.loss(z, y), objective, z))
        assert objective.diagnostics(z, y)["gamma"].item() == pytest.approx(gamma, rel=1e-2)


def test_a_training_that_ends_with_a_collapsed_gamma_warns() -> None:
    objective, z, y = halo("published"), torch.zeros(B, D).double(), torch.zeros(B).long()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective.finalize(z, y)
    with torch.no_grad():
        objective.raw_gamma.fill_(-3)
    with pytest.warns(UserWarning, match=rf"gamma fell from {objective.first_gamma:.3g} to 0\.049.*has collapsed"):
        objective.finalize(z, y)


def test_diagnostics() -> None:
    objective = halo("published")
    z, y = draw()
    z = z.double()
    diagnostics = objective.diagnostics(z, y)
    close(diagnostics["gamma"], 20 / (1 + 2 / D), rtol=1e-6)
    close(diagnostics["r2"], (z - objective.centres()[y]).square().sum() / (B * D))
    close(diagnostics["z2"], z.square().sum() / (B * D))
    close(diagnostics["p_abstain"], objective.ood_score(objective.logits(z)).exp().mean())
    assert not any(value.requires_grad or value.shape for value in diagnostics.values())


def test_gamma_is_never_decayed() -> None:
    def groups(learn_gamma: bool) -> list[dict[str, Any]]:
        objective = Halo(D, K, "published", None, 0.1, True, learn_gamma, None, 1.0, None)
        names = {id(p): name for name, p in objective.named_parameters()}
        model = Classifier(nn.Identity(), objective, [0.0] * 3, [1.0] * 3, torch.float32)
        groups = torch.optim.SGD(parameter_groups(model), lr=1.0, weight_decay=0.5).param_groups
        return [{"decay": g["weight_decay"], "names": {names[id(p)] for p in g["params"]}} for g in groups]

    decayed = {"decay": 0.5, "names": {"embed.weight", "embed.bias", "centroids"}}
    assert groups(learn_gamma=True) == [decayed, {"decay": 0.0, "names": {"raw_gamma"}}]
    assert groups(learn_gamma=False) == [decayed]


def test_embedding_has_one_dimension_per_class_by_default() -> None:
    assert Halo(D, 7, "published", None, 0.1, True, True, None, 1.0, None).centroids.shape == (7, 7)
    assert Halo(D, 7, "published", 3, 0.1, True, True, None, 1.0, None).embed.weight.shape == (3, D)


def test_centroids_start_as_standard_normals() -> None:
    torch.default_generator.manual_seed(0)
    centroids = Halo(D, 100, "published", 200, 0.1, True, True, None, 1.0, None).centroids
    assert centroids.mean().item() == pytest.approx(0, abs=0.03)
    assert centroids.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["halo", "halo variant=notes"])
def test_ood_score_is_log_p_of_the_abstain_class(name: str) -> None:
    objective = build_loss(name).double()
    logits = objective.logits(draw()[0].double())
    close(objective.ood_score(logits), logits[:, -1] - logits.logsumexp(1))


def test_the_logits_of_the_classes_are_linear_in_the_features() -> None:
    objective, (x, _) = build_loss("halo"), draw()
    objective.embed.bias.data.normal_()
    W, b = objective.linear()
    close(x @ W.T + b, objective.logits(x)[:, :-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "embedding_dim", "label_smoothing", "named"),
    [
        ("author", None, 0.1, "variant is 'author'.*published, notes"),
        ("published", 1, 0.1, "embedding_dim is 1"),
        ("published", 0, 0.1, "embedding_dim is 0"),
        ("published", None, 1.0, "label_smoothing is 1"),
        ("notes", None, -0.1, "label_smoothing is -0.1"),
    ],
)
def test_senseless_hyperparameters_are_named(
    variant: str, embedding_dim: int | None, label_smoothing: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        Halo(D, K, variant, embedding_dim, label_smoothing, True, True, None, 1.0, None)


@pytest.mark.parametrize("variant", ["published", "notes"])
@pytest.mark.parametrize("weight", [0.0, 0.25, 1.0])
def test_radial_weight_scales_the_radial_term(variant: str, weight: float) -> None:
    z, y = draw(0)
    z = z.double()
    whole, scaled = halo(variant), halo(variant)
    scaled.radial_weight = weight
    radial_of = {"published": (z - whole.centres()[y]).square().mean(1), "notes": z.square().mean(1)}
    radial = whole._radial(radial_of[variant], eps=1e-8 if variant == "notes" else 0.0)
    close(whole.embedded_loss(z, y) - scaled.embedded_loss(z, y), (1 - weight) * radial, rtol=1e-9)


def test_gamma_and_abstain_bias_can_be_set() -> None:
    objective = Halo(D, K, "published", None, 0.1, True, True, 3.0, 1.0, None)
    close(objective.gamma, [3.0], rtol=1e-6)
    assert objective.abstain_bias == pytest.approx(3 * 2 / K - math.log((0.9 + 0.1 / K) / (0.1 / K)))
    assert Halo(D, K, "published", None, 0.1, True, True, 3.0, 1.0, 0.5).shifted_logits(torch.zeros(1, K))[0, -1] == 0.5
    with pytest.raises(ValueError, match="gamma is 0"):
        Halo(D, K, "published", None, 0.1, True, True, 0.0, 1.0, None)
