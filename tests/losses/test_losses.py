"""Every loss: its formula written out literally, its properties, and hostile input."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F

from oodbench.losses.ce import CrossEntropy
from oodbench.losses.circle import Circle, class_level_loss, pairwise_loss, pull_and_push
from oodbench.losses.focal import Focal, focal_loss
from oodbench.losses.ghm import GHMC
from oodbench.losses.halo import Halo
from oodbench.losses.logitnorm import LogitNorm, logitnorm_loss
from oodbench.losses.objective import Objective
from oodbench.model import Classifier
from oodbench.training.loop import parameter_groups

D, K = 6, 5  # features, classes of every loss in this table
B = 9
LOSSES: dict[str, Callable[[], Objective]] = {
    "ce": lambda: CrossEntropy(D, K, 0.0),
    "ce-smoothed": lambda: CrossEntropy(D, K, 0.1),
    "halo": lambda: Halo(D, K, "published", None, 0.1, True, True),
    "halo-hard": lambda: Halo(D, K, "published", None, 0.0, True, True),
    "halo-smoothed": lambda: Halo(D, K, "published", None, 0.1, False, True),
    "halo-hard-smoothed": lambda: Halo(D, K, "published", None, 0.0, False, True),
    "halo-2d": lambda: Halo(D, K, "published", 2, 0.1, True, True),
    "halo-notes": lambda: Halo(D, K, "notes", None, 0.1, True, True),
    "halo-notes-hard": lambda: Halo(D, K, "notes", None, 0.0, True, True),
    "halo-notes-no-kl": lambda: Halo(D, K, "notes", None, 0.1, False, True),
    "halo-notes-hard-no-kl": lambda: Halo(D, K, "notes", None, 0.0, False, True),
    "halo-notes-2d": lambda: Halo(D, K, "notes", 2, 0.1, True, True),
    "logitnorm": lambda: LogitNorm(D, K, 0.04),
    "logitnorm-1": lambda: LogitNorm(D, K, 1.0),
    "ghm": lambda: GHMC(D, K, 10, 0.0, 1.0),
    "ghm-momentum": lambda: GHMC(D, K, 30, 0.75, 1.0),
    "circle": lambda: Circle(D, K, "class_level", 0.25, 64, 16),
    "circle-batch": lambda: Circle(D, K, "pairwise_global", 0.25, 64, 16),
    "circle-anchor": lambda: Circle(D, K, "pairwise_per_anchor", 0.25, 64, 16),
    "circle-256": lambda: Circle(D, K, "class_level", 0.25, 256, 16),
    "circle-batch-256": lambda: Circle(D, K, "pairwise_global", 0.25, 256, 16),
    "focal-0": lambda: Focal(D, K, 0.0),
    "focal-0.5": lambda: Focal(D, K, 0.5),
    "focal-1": lambda: Focal(D, K, 1.0),
    "focal-2": lambda: Focal(D, K, 2.0),
}
every_loss = pytest.mark.parametrize("name", LOSSES)


def make(name: str, seed: int = 0, finalize: bool = True) -> Any:
    """A loss of the table, as drawn, that can classify."""
    torch.default_generator.manual_seed(seed)
    objective = LOSSES[name]()
    if finalize:
        objective.finalize(torch.randn(4 * K, D), torch.arange(4 * K) % K)
    return objective


def handing_on(objective: Any) -> Any:
    """Its linear layer set to the identity, in float64, so that features are logits, embeddings."""
    for layer in objective.modules():
        if isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
    return objective.double()


def draw(seed: int = 1, size: int = B, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(size, D, generator=generator), torch.randint(K, (size,), generator=generator)


def gradients(loss: Tensor, objective: Objective, *leaves: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [*leaves, *(p for p in objective.parameters() if p.requires_grad)]))


def close(actual: Tensor, expected: Tensor | float | list[float], rtol: float = 1e-9, atol: float = 1e-12) -> None:
    torch.testing.assert_close(actual, torch.as_tensor(expected, dtype=actual.dtype), rtol=rtol, atol=atol)


def property_test(**arguments: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
    """Forty examples, the same ones every time."""
    return lambda test: settings(max_examples=40, deadline=None, derandomize=True)(given(**arguments)(test))


seeds = st.integers(0, 10**6)

# ---- hostile input

ORDINARY, LABELS = draw()
HOSTILE: dict[str, tuple[Tensor, Tensor]] = {
    "zero": (torch.zeros(B, D), LABELS),
    "one row zero": (torch.cat([torch.zeros(1, D), ORDINARY[1:]]), LABELS),
    "tiny": (1e-30 * ORDINARY, LABELS),
    "subnormal": (1e-42 * ORDINARY, LABELS),
    "1e4": (1e4 * ORDINARY, LABELS),
    "1e18, whose square is the last": (1e18 * ORDINARY.clamp(-1, 1), LABELS),
    "1e4 beside zero": (ORDINARY * torch.tensor([0.0, 1e4] * B)[:B, None], LABELS),
    "+-1e4, right": (2e4 * F.one_hot(LABELS, D).float() - 1e4, LABELS),
    "+-1e4, wrong": (2e4 * F.one_hot((LABELS + 1) % K, D).float() - 1e4, LABELS),
    "all equal": (torch.ones(B, D), LABELS),
    "identical images of two classes": (ORDINARY[:1].repeat(B, 1), torch.arange(B) % 2),
    "opposite images of one class": (torch.cat([ORDINARY, -ORDINARY]), torch.zeros(2 * B, dtype=torch.long)),
    "a batch of one": (ORDINARY[:1], LABELS[:1]),
    "a batch of one zero": (torch.zeros(1, D), LABELS[:1]),
    "one class only": (ORDINARY, torch.full((B,), 3)),
    "no positive pair": (ORDINARY[:K], torch.arange(K)),
    "two images, one class": (ORDINARY[:2], torch.zeros(2, dtype=torch.long)),
    "two images, two classes": (ORDINARY[:2], torch.arange(2)),
}


@every_loss
@pytest.mark.parametrize("hostile", HOSTILE)
def test_loss_gradients_and_readings_are_finite_on_hostile_features(name: str, hostile: str) -> None:
    features, labels = HOSTILE[hostile]
    for objective in (make(name), handing_on(make(name)).float()):
        features = features.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            loss, logits = objective.loss(features, labels), objective.logits(features)
            readings = objective.log_probs(logits), objective.ood_score(logits)
        assert loss.shape == ()
        for tensor in (loss, logits, *readings, *gradients(loss, objective, features)):
            assert tensor.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_readings_of_logits_of_1e4_are_finite_probabilities(name: str, dtype: torch.dtype) -> None:
    objective = make(name)
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
        objective = make(name, finalize=False)
        features, labels = draw(scale=3)
        features.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            objective.finalize(features.detach(), torch.arange(B) % K)
            loss, logits = objective.loss(features, labels), objective.logits(features)
            readings = [objective.log_probs(logits), objective.ood_score(logits)]
            watched = objective.diagnostics(features, labels).values()
        state = objective.state_dict().values()
        return [loss, logits, *readings, *watched, *state, *gradients(loss, objective, features)]

    for outside, inside in zip(everything(autocast=False), everything(autocast=True), strict=True):
        assert outside.dtype == inside.dtype == torch.float32
        assert torch.equal(outside, inside)


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_cast_up_before_anything_is_computed(name: str, dtype: torch.dtype) -> None:
    features, labels = draw()
    features = features.to(dtype)
    loss = make(name).loss(features, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, make(name).loss(features.float(), labels))
    objective = make(name)
    logits = objective.logits(features)
    assert torch.equal(logits, objective.logits(features.float()))
    low = logits.to(dtype)
    assert torch.equal(objective.log_probs(low), objective.log_probs(low.float()))
    assert torch.equal(objective.ood_score(low), objective.ood_score(low.float()))


@every_loss
def test_float64_stays_float64_and_float32_agrees_with_it(name: str) -> None:
    features, labels = draw()

    def everything(dtype: torch.dtype) -> list[Tensor]:
        objective = make(name).to(dtype)
        loss = objective.loss(features.to(dtype), labels)
        logits = objective.logits(features.to(dtype))
        return [loss, logits, objective.log_probs(logits), objective.ood_score(logits)]

    for wide, narrow in zip(everything(torch.float64), everything(torch.float32), strict=True):
        assert wide.dtype == torch.float64
        assert narrow.dtype == torch.float32
        torch.testing.assert_close(narrow.double(), wide, rtol=1e-4, atol=1e-5)


@every_loss
def test_a_step_never_waits_for_the_device_and_no_shape_depends_on_data(name: str) -> None:
    with FakeTensorMode():  # tensors without values: reading one on the host, or a shape from one, raises
        objective = LOSSES[name]()
        features = torch.randn(B, D).requires_grad_()
        labels = torch.zeros(B, dtype=torch.long)
        objective.loss(features, labels).backward()
        objective.log_probs(objective.logits(features))
        objective.diagnostics(features, labels)
        assert features.grad is not None
        assert features.grad.shape == (B, D)


# ---- cross entropy


@property_test(seed=seeds, ls=st.sampled_from([0.0, 0.1, 0.5]))
def test_cross_entropy_is_its_formula(seed: int, ls: float) -> None:
    f, y = draw(seed, scale=3)
    f = f.double()[:, :K]
    objective = handing_on(CrossEntropy(K, K, ls))
    t = torch.full((B, K), ls / K, dtype=torch.float64)
    t[torch.arange(B), y] += 1 - ls
    close(objective.loss(f, y), -(t * f.softmax(1).log()).sum(1).mean())


# ---- HALO


def halo(variant: str, ls: float = 0.1, distill: bool = True, k: int = K, d: int = D, seed: int = 0) -> Halo:
    """With an identity for its embedding, in float64: features are z."""
    torch.default_generator.manual_seed(seed)
    return handing_on(Halo(d, k, variant, d, ls, distill, True))


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
def test_halo_is_its_formula(
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
def test_halo_notes_kl_with_the_mask_is_minus_log_one_minus_p_y(seed: int) -> None:
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
def test_halo_notes_free_logits_settle_at_half_the_target(k: int, ls: float) -> None:
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


def test_halo_readings_differ_with_and_without_distillation() -> None:
    z, y = draw()
    for distill in (True, False):
        published, notes = halo("published", distill=distill), halo("notes", distill=distill)
        assert torch.equal(published.logits(z.double()), notes.logits(z.double()))
        difference = published.embedded_loss(z.double(), y) - notes.embedded_loss(z.double(), y)
        assert difference.abs().max() > 0.1


@pytest.mark.parametrize("variant", ["published", "notes"])
def test_halo_does_not_feel_all_centroids_moving_together(variant: str) -> None:
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
def test_halo_distances_are_distances_and_rank_like_the_shifted_logits(seed: int, scale: float) -> None:
    objective = halo("published", seed=seed)
    z = draw(seed, scale=scale)[0].double()
    distances = objective.distances(z)
    c = objective.centroids - objective.centroids.mean(0)
    close(distances, -objective.gamma * torch.cdist(z, c).square() / D, rtol=1e-7)
    assert torch.equal(distances.argmax(1), objective.logits(z)[:, :K].argmax(1))


def test_halo_distances_are_never_positive_though_rounding_would_have_them_so() -> None:
    torch.default_generator.manual_seed(0)
    objective = handing_on(Halo(D, K, "published", D, 0.1, True, True)).float()
    objective.centroids.data *= 100
    z = objective.centres().detach()
    s = objective.shifted_logits(z)[:, :K] - objective.gamma * z.square().mean(1, keepdim=True)
    assert (s > 0).any()
    assert (objective.distances(z) <= 0).all()


@pytest.mark.parametrize("variant", ["published", "notes"])
@pytest.mark.parametrize("d", [2, 3, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_halo_is_finite_with_z_exactly_on_its_centroid(variant: str, d: int, dtype: torch.dtype) -> None:
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


def test_halo_published_clamps_no_ordinary_radius() -> None:
    objective = halo("published")
    z, y = objective.centres().detach() + 1e-5, torch.arange(K)  # r2 = 1e-10
    radial = objective.embedded_loss(z, y) - F.cross_entropy(
        objective.logits(z), objective.targets(z, y), reduction="none"
    )
    close(radial, [1e-10 / 2 - (0.5 - 1 / D) * math.log(1e-10)] * K, rtol=1e-7)


def test_halo_notes_radial_at_zero_is_its_eps() -> None:
    objective = halo("notes", ls=0.0, distill=False, d=64)
    z, y = torch.zeros(K, 64).double().requires_grad_(), torch.arange(K)
    loss = objective.embedded_loss(z, y)
    cross_entropy = F.cross_entropy(objective.logits(z), y, reduction="none")
    close(loss - cross_entropy, [-(0.5 - 1 / 64) * math.log(1e-8)] * K)


def test_halo_without_smoothing_is_the_same_with_and_without_distillation() -> None:
    z, y = draw()
    z = z.double().requires_grad_()
    on, off = halo("published", ls=0.0), halo("published", ls=0.0, distill=False)
    assert torch.equal(on.embedded_loss(z, y), off.embedded_loss(z, y))
    for a, b in zip(gradients(on.loss(z, y), on, z), gradients(off.loss(z, y), off, z), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(on.targets(z, y)[:, :K], F.one_hot(y, K).double())


def test_halo_soft_target_is_hard_at_the_initial_gamma_and_spreads_at_half() -> None:
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


def test_halo_published_target_passes_no_gradient() -> None:
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
def test_halo_abstain_column_is_constant_while_gamma_is_learned(variant: str) -> None:
    objective = halo(variant)
    z = draw()[0].double()
    for raw_gamma in (-5.0, 0.5, 16.0, 30.0):
        objective.raw_gamma.data.fill_(raw_gamma)
        close(objective.logits(z)[:, -1], [80 / (2 * D + 4) - math.log(0.92 / 0.02)] * B)


def test_halo_is_read_by_all_columns_and_predicts_by_the_classes() -> None:
    objective = halo("published")
    logits = torch.tensor([[1.0, 2, 3, 4, 5, 50], [5.0, 1, 1, 1, 1, -50]])
    log_probs, abstain = objective.log_probs(logits), objective.ood_score(logits)
    close(log_probs.exp().sum(1) + abstain.exp(), torch.ones(2), rtol=1e-6)
    close(log_probs[0], logits[0, :5] - 50, rtol=1e-6)
    assert log_probs.argmax(1).tolist() == [4, 0]
    assert abstain[0] > abstain[1]


def test_halo_collapsed_gamma_is_finite_and_is_watched() -> None:
    objective = halo("published").float()
    z, y = draw()
    for raw_gamma, gamma in ((-20.0, 2.06e-9), (-200.0, 0.0), (100.0, 100.0)):
        objective.raw_gamma.data.fill_(raw_gamma)
        z = z.detach().requires_grad_()
        assert all(gradient.isfinite().all() for gradient in gradients(objective.loss(z, y), objective, z))
        assert objective.diagnostics(z, y)["gamma"].item() == pytest.approx(gamma, rel=1e-2)


def test_halo_diagnostics_are_what_they_say() -> None:
    objective = halo("published")
    z, y = draw()
    z = z.double()
    watched = objective.diagnostics(z, y)
    close(watched["gamma"], 20 / (1 + 2 / D), rtol=1e-6)
    close(watched["r2"], (z - objective.centres()[y]).square().sum() / (B * D))
    close(watched["z2"], z.square().sum() / (B * D))
    close(watched["p_abstain"], objective.ood_score(objective.logits(z)).exp().mean())
    assert not any(value.requires_grad or value.shape for value in watched.values())


def test_halo_gamma_is_never_decayed_and_stays_where_it_is_unless_learned() -> None:
    def groups(learn_gamma: bool) -> list[dict[str, Any]]:
        objective = Halo(D, K, "published", None, 0.1, True, learn_gamma)
        names = {id(p): name for name, p in objective.named_parameters()}
        model = Classifier(nn.Identity(), objective, [0.0] * 3, [1.0] * 3, torch.float32)
        groups = torch.optim.SGD(parameter_groups(model), lr=1.0, weight_decay=0.5).param_groups
        return [{"decay": g["weight_decay"], "names": {names[id(p)] for p in g["params"]}} for g in groups]

    decayed = {"decay": 0.5, "names": {"embed.weight", "embed.bias", "centroids"}}
    assert groups(learn_gamma=True) == [decayed, {"decay": 0.0, "names": {"raw_gamma"}}]
    assert groups(learn_gamma=False) == [decayed]


@every_loss
def test_spared_parameters_are_its_own(name: str) -> None:
    objective = LOSSES[name]()
    assert set(objective.no_weight_decay) <= dict(objective.named_parameters()).keys()


def test_halo_embeds_into_as_many_dimensions_as_classes_unless_told() -> None:
    assert Halo(D, 7, "published", None, 0.1, True, True).centroids.shape == (7, 7)
    assert Halo(D, 7, "published", 3, 0.1, True, True).embed.weight.shape == (3, D)


def test_halo_centroids_start_as_standard_normals() -> None:
    torch.default_generator.manual_seed(0)
    centroids = Halo(D, 100, "published", 200, 0.1, True, True).centroids
    assert centroids.mean().item() == pytest.approx(0, abs=0.03)
    assert centroids.std().item() == pytest.approx(1, abs=0.03)


# ---- LogitNorm


def logitnorm_written_out(f: Tensor, y: Tensor, tau: float) -> Tensor:
    scaled = f / (f.square().sum(1, keepdim=True).sqrt() + 1e-7) / tau
    return (scaled.logsumexp(1) - scaled[torch.arange(len(f)), y]).mean()


@property_test(seed=seeds, tau=st.sampled_from([0.01, 0.04, 1.0]), scale=st.sampled_from([1e-7, 1e-6, 1e-3, 1.0, 1e4]))
def test_logitnorm_is_its_formula_down_to_logits_of_the_size_of_eps(seed: int, tau: float, scale: float) -> None:
    f, y = draw(seed, scale=scale)
    f = f.double().requires_grad_()
    actual, expected = logitnorm_loss(f, y, tau), logitnorm_written_out(f, y, tau)
    close(actual, expected, rtol=1e-10)
    close(torch.autograd.grad(actual, f)[0], torch.autograd.grad(expected, f)[0], rtol=1e-7, atol=1e-7)


@property_test(seed=seeds, tau=st.floats(0.01, 2), scale=st.floats(1, 1e4))
def test_logitnorm_does_not_feel_the_scale_of_the_logits_but_for_eps(seed: int, tau: float, scale: float) -> None:
    f, y = draw(seed)
    f = f.double()
    moved = (logitnorm_loss(scale * f, y, tau) - logitnorm_loss(f, y, tau)).abs()
    assert moved <= 2 * 1e-7 / (tau * f.norm(dim=1).min()) + 1e-12  # |dCE| <= 2 max |d logit|


@property_test(seed=seeds, tau=st.floats(0.02, 2), k=st.integers(2, 20), scale=st.floats(1e-3, 1e3))
def test_logitnorm_stays_above_the_attainable_minimum(seed: int, tau: float, k: int, scale: float) -> None:
    bound = math.log1p((k - 1) * math.exp(-math.sqrt(k / (k - 1)) / tau))
    y = torch.arange(k)
    best = torch.eye(k).double() - 1 / k  # the simplex: as far above all others as a unit vector can be
    noise = torch.randn(k, k, generator=torch.Generator().manual_seed(seed)).double()
    for f in (noise, best, best + 0.1 * noise):
        assert logitnorm_loss(scale * f, y, tau) >= bound * (1 - 1e-9) - 1e-15
    assert logitnorm_loss(1e3 * best, y, tau).item() == pytest.approx(bound, rel=1e-6)
    assert bound > math.log1p((k - 1) * math.exp(-2 / tau)) or k == 2  # the paper's bound is lower still


def test_logitnorm_of_zero_logits_is_log_k_with_a_finite_gradient() -> None:
    f = torch.zeros(1, K, requires_grad=True)
    loss = logitnorm_loss(f, torch.tensor([0]), 0.04)
    gradient = torch.autograd.grad(loss, f)[0]
    close(loss, math.log(K), rtol=1e-6)
    close(gradient, (torch.full((1, K), 1 / K) - F.one_hot(torch.tensor([0]), K)) / (1e-7 * 0.04), rtol=1e-5)


def test_logitnorm_gradient_grows_as_the_logits_shrink() -> None:
    f, y = draw()
    norms = []
    for scale in (1.0, 1e-3):
        leaf = (scale * f).double().requires_grad_()
        norms.append(torch.autograd.grad(logitnorm_loss(leaf, y, 0.04), leaf)[0].norm())
    assert (norms[1] / norms[0]).item() == pytest.approx(1000, rel=1e-3)


def test_logitnorm_is_read_without_norm_and_without_tau() -> None:
    objective = handing_on(LogitNorm(K, K, 0.04))
    f = draw(scale=3)[0].double()[:, :K]
    close(objective.log_probs(objective.logits(f)), f.log_softmax(1))
    close(objective.ood_score(objective.logits(f)), -f.log_softmax(1).amax(1))


# ---- GHM-C


def ghm_written_out(f: Tensor, y: Tensor, objective: GHMC, acc: list[float] | None = None) -> Tensor:
    """Bin after bin, as the authors' code goes; `acc` is changed in place."""
    bins, momentum = objective.bins, objective.momentum
    edges = [i / bins for i in range(bins)] + [1 + 1e-6]
    target = F.one_hot(y, f.shape[1]).double()
    g = (f.detach().sigmoid() - target).abs()
    weight, n = torch.zeros_like(g), 0
    for i in range(bins):
        inside = (g >= edges[i]) & (g < edges[i + 1])
        count = int(inside.sum())
        if count == 0:
            continue
        n += 1
        if momentum > 0 and acc is not None:
            acc[i] = momentum * acc[i] + (1 - momentum) * count
            weight[inside] = f.numel() / acc[i]
        else:
            weight[inside] = f.numel() / count
    cells = f.logaddexp(torch.zeros_like(f)) - target * f
    return objective.loss_weight * (weight / n * cells).sum() / f.numel()


@property_test(
    seed=seeds,
    bins=st.sampled_from([1, 3, 10, 30]),
    momentum=st.sampled_from([0.0, 0.5, 0.75]),
    loss_weight=st.sampled_from([1.0, 10.0]),
    scale=st.sampled_from([0.0, 0.1, 3.0, 30.0]),
)
def test_ghm_is_its_formula_step_after_step(
    seed: int, bins: int, momentum: float, loss_weight: float, scale: float
) -> None:
    objective = handing_on(GHMC(K, K, bins, momentum, loss_weight))
    acc = [0.0] * bins
    for step in range(3):
        f, y = draw(seed + step, scale=scale)
        f = f.double()[:, :K].requires_grad_()
        actual, expected = objective.loss(f, y), ghm_written_out(f, y, objective, acc)
        close(actual, expected)
        close(torch.autograd.grad(actual, f)[0], torch.autograd.grad(expected, f)[0])
        close(objective.acc, torch.tensor(acc))


@property_test(seed=seeds, scale=st.floats(0, 100), bins=st.integers(1, 40))
def test_ghm_weights_have_mean_1_without_momentum(seed: int, scale: float, bins: int) -> None:
    f, y = draw(seed, scale=scale)
    weights = GHMC(D, D, bins, 0.0, 1.0).weights(f, F.one_hot(y, D).float())
    assert weights.mean().item() == pytest.approx(1, rel=1e-5)
    assert (weights > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_ghm_hardest_cell_has_a_weight_and_a_gradient(dtype: torch.dtype) -> None:
    objective = handing_on(GHMC(K, K, 30, 0.0, 1.0)).float()
    f = torch.zeros(2, K, dtype=dtype)
    f[0, 0] = 60  # g is exactly 1
    f[1, 1] = 7  # in low precision, its sigmoid too is exactly 1
    f.requires_grad_()
    y = torch.tensor([2, 2])
    gradient = torch.autograd.grad(objective.loss(f, y), f)[0]
    assert (gradient != 0).all()
    # two bins with cells: the eight of g = 1/2, and the two hard ones
    close(gradient[0, 0].float(), 1 / 2 / 2, rtol=1e-2)


def test_ghm_a_cell_on_an_edge_belongs_to_the_bin_above() -> None:
    f = torch.zeros(1, 4)  # g = 1/2
    objective = GHMC(4, 4, 2, 0.5, 1.0)
    objective.weights(f, F.one_hot(torch.tensor([0]), 4).float())
    assert objective.acc.tolist() == [0, 2]


def test_ghm_memory_moves_in_training_only() -> None:
    objective = handing_on(GHMC(K, K, 10, 0.75, 1.0))
    f, y = draw(scale=2)
    f = f.double()[:, :K]
    objective.loss(f, y)
    after = objective.acc.clone()
    assert after.sum() == pytest.approx(0.25 * f.numel())
    objective.eval()
    objective.loss(f, y)
    objective.log_probs(objective.logits(f))
    assert torch.equal(objective.acc, after)
    objective.train()
    objective.loss(f, y)
    assert not torch.equal(objective.acc, after)


def test_ghm_empty_bins_keep_their_memory() -> None:
    objective = GHMC(2, 2, 4, 0.75, 1.0)
    objective.acc += torch.tensor([1.0, 2, 3, 4])
    objective.weights(torch.tensor([[9.0, -9.0]]), torch.tensor([[1.0, 0.0]]))  # both cells in the first bin
    assert objective.acc.tolist() == [0.75 * 1 + 0.25 * 2, 2, 3, 4]


def test_ghm_first_step_with_momentum_is_not_corrected_for_its_start_at_zero() -> None:
    f, y = draw(scale=2)
    f = f.double()[:, :K]
    first = handing_on(GHMC(K, K, 10, 0.75, 1.0)).loss(f, y)
    close(first, 4 * handing_on(GHMC(K, K, 10, 0.0, 1.0)).loss(f, y))


def test_ghm_weight_beyond_half_precision_is_finite() -> None:
    f = torch.zeros(1024, 100, dtype=torch.float16)
    f[0, 0] = 9  # alone in its bin: 102400 cells / 1 / 3 bins is still finite in float32 only when computed there
    f[1, 1] = -4
    f.requires_grad_()
    y = torch.full((1024,), 99)
    objective = handing_on(GHMC(100, 100, 10, 0.75, 1.0)).float()  # x 4 in the first step: 136533 > 65504
    loss = objective.loss(f, y)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, f)[0].isfinite().all()


def test_ghm_loss_weight_scales_the_loss() -> None:
    f, y = draw()
    f = f.double()[:, :K]
    close(handing_on(GHMC(K, K, 10, 0.0, 7.0)).loss(f, y), 7 * handing_on(GHMC(K, K, 10, 0.0, 1.0)).loss(f, y))


def test_ghm_is_read_by_sigmoids_and_its_score_does_not_saturate() -> None:
    objective = handing_on(GHMC(K, K, 10, 0.0, 1.0))
    f = torch.tensor([[50.0, 1, 0, 0, 0], [60.0, 1, 0, 0, 0]])
    log_probs, score = objective.log_probs(f), objective.ood_score(f)
    close(log_probs, f.sigmoid().log(), atol=1e-7)
    assert log_probs.exp().sum(1).min() > 2  # rows do not sum to one
    assert score.tolist() == [-50, -60]


# ---- Circle


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
def test_circle_of_pairs_is_its_formula(
    per_anchor: bool, seed: int, size: int, classes: int, m: float, gamma: float
) -> None:
    x, y = draw(seed, size)
    x, y = x.double().requires_grad_(), y % classes
    actual = pairwise_loss(x, y, m, gamma, per_anchor)
    expected = pairs_written_out(x, y, m, gamma, per_anchor)
    close(actual, expected, rtol=1e-8)
    close(torch.autograd.grad(actual, x)[0], torch.autograd.grad(expected, x)[0], rtol=1e-7, atol=1e-10)


@property_test(seed=seeds, m=st.sampled_from([0.1, 0.25, 0.4]), gamma=st.sampled_from([1.0, 16.0]))
def test_circle_of_prototypes_is_its_formula(seed: int, m: float, gamma: float) -> None:
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


def test_circle_brackets_are_weights_and_pass_no_gradient() -> None:
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
def test_circle_without_positives_or_negatives_is_zero_and_connected(variant: str, hostile: str) -> None:
    x, y = HOSTILE[hostile]
    x = x.clone().requires_grad_()
    loss = Circle(D, K, variant, 0.25, 256, 16).loss(x, y)
    assert loss == 0
    assert torch.equal(torch.autograd.grad(loss, x)[0], torch.zeros_like(x))


def test_circle_skips_anchors_that_lack_a_partner() -> None:
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
def test_circle_is_finite_where_the_plain_exponential_overflows(gamma: float) -> None:
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


def test_circle_is_zero_when_all_is_well() -> None:
    x = torch.tensor([[1.0, 0], [2.0, 0], [-1.0, 0], [-3.0, 0]])
    y = torch.tensor([0, 0, 1, 1])
    for per_anchor in (False, True):
        assert pairwise_loss(x, y, 0.25, 1024.0, per_anchor) < 1e-6


@pytest.mark.parametrize("variant", ["pairwise_global", "pairwise_per_anchor"])
def test_circle_of_pairs_settles_at_the_normalised_class_means_of_directions(variant: str) -> None:
    objective = Circle(D, K, variant, 0.25, 64, 16)
    x, y = draw(size=40)
    x = x * torch.linspace(0.1, 100, 40)[:, None]  # length must not count
    assert objective.logits(x).isnan().all()  # until then, it cannot classify
    objective.finalize(x, y)
    for k in range(K):
        mean = F.normalize(x[y == k]).mean(0)
        close(objective.prototypes[k], mean / mean.norm(), rtol=1e-5, atol=1e-6)
    assert not objective.prototypes.requires_grad


def test_circle_of_prototypes_has_nothing_to_settle() -> None:
    objective = Circle(D, K, "class_level", 0.25, 64, 16)
    before = objective.prototypes.detach().clone()
    objective.finalize(*draw())
    assert torch.equal(objective.prototypes, before)


def test_circle_prototypes_start_as_a_linear_layer_without_bias() -> None:
    torch.default_generator.manual_seed(3)
    objective = Circle(D, K, "class_level", 0.25, 64, 16)
    torch.default_generator.manual_seed(3)
    assert torch.equal(objective.prototypes, nn.Linear(D, K, bias=False).weight)


@pytest.mark.parametrize("variant", ["class_level", "pairwise_global", "pairwise_per_anchor"])
def test_circle_is_read_by_the_softmax_of_scaled_cosines(variant: str) -> None:
    torch.default_generator.manual_seed(0)
    objective = Circle(D, K, variant, 0.25, 64, scale=16)
    objective.finalize(torch.randn(40, D), torch.arange(40) % K)
    x = draw()[0]
    cosine = F.cosine_similarity(x[:, None], objective.prototypes[None], dim=2)
    logits = objective.logits(x)
    close(logits, cosine, rtol=1e-5, atol=1e-6)
    close(objective.log_probs(logits), (16 * cosine).log_softmax(1), rtol=1e-5, atol=1e-5)
    assert torch.equal(objective.log_probs(logits).argmax(1), cosine.argmax(1))
    close(objective.ood_score(logits), -cosine.amax(1), rtol=1e-5, atol=1e-6)


# ---- focal


@property_test(seed=seeds, gamma=st.floats(0, 5), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_focal_is_its_formula(seed: int, gamma: float, scale: float) -> None:
    f, y = draw(seed, scale=scale)
    f = f.double()
    p = f.softmax(1)
    others = (p * (1 - F.one_hot(y, D))).sum(1)  # 1 - p_y, without a difference
    expected = -(others**gamma * p.gather(1, y[:, None])[:, 0].log()).mean()
    close(focal_loss(f, y, gamma), expected, rtol=1e-7)


@property_test(seed=seeds)
def test_focal_of_gamma_0_is_cross_entropy(seed: int) -> None:
    f, y = draw(seed, scale=5)
    f.requires_grad_()
    focal, plain = focal_loss(f, y, 0.0), F.cross_entropy(f, y)
    close(focal, plain, rtol=1e-6)
    close(torch.autograd.grad(focal, f)[0], torch.autograd.grad(plain, f)[0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 5.0])
@pytest.mark.parametrize("margin", [10.0, 16.0, 17.0, 50.0, 104.0, 1e4])
def test_focal_has_a_finite_gradient_up_to_certainty(gamma: float, margin: float) -> None:
    f = torch.tensor([[margin, 0.0, 0.0]], requires_grad=True)
    y = torch.tensor([0])
    loss = focal_loss(f, y, gamma)
    assert 0 <= loss < 1e-3
    gradient = torch.autograd.grad(loss, f)[0]
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e-3


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("margin", [5.0, 10.0, 15.0])
def test_focal_of_gamma_below_1_is_clamped_at_certainty_only(gamma: float, margin: float) -> None:
    odds = 2 * math.exp(-margin)  # of the two other classes
    loss = focal_loss(torch.tensor([[margin, 0, 0]], dtype=torch.float64), torch.tensor([0]), gamma)
    close(loss, (odds / (1 + odds)) ** gamma * math.log1p(odds), rtol=1e-7)


# ---- how each is read

SCORES: dict[str, Callable[[Tensor], Tensor]] = {
    "ce": lambda f: -f.log_softmax(1).amax(1),
    "logitnorm": lambda f: -f.log_softmax(1).amax(1),
    "focal-2": lambda f: -f.log_softmax(1).amax(1),
    "ghm": lambda f: -f.amax(1),
    "circle": lambda f: -f.amax(1),
    "circle-batch": lambda f: -f.amax(1),
    "halo": lambda f: f[:, -1] - f.logsumexp(1),
    "halo-notes": lambda f: f[:, -1] - f.logsumexp(1),
}


@pytest.mark.parametrize("name", SCORES)
def test_strangeness_is_the_losss_own_and_grows_with_it(name: str) -> None:
    objective = make(name).double()
    features = draw()[0].double()
    logits = objective.logits(features)
    close(objective.ood_score(logits), SCORES[name](logits))
    if not name.startswith("halo"):  # more of the winning logit is less strange
        surer = logits + F.one_hot(logits.argmax(1), logits.shape[1])
        assert (objective.ood_score(surer) < objective.ood_score(logits)).all()


# ---- hyperparameters


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: CrossEntropy(D, K, -0.1), "label_smoothing is -0.1"),
        (lambda: CrossEntropy(D, K, 1.0), "label_smoothing is 1"),
        (lambda: Halo(D, K, "author", None, 0.1, True, True), "variant is 'author'.*published, notes"),
        (lambda: Halo(D, K, "published", 1, 0.1, True, True), "embedding_dim is 1"),
        (lambda: Halo(D, K, "published", 0, 0.1, True, True), "embedding_dim is 0"),
        (lambda: Halo(D, K, "published", None, 1.0, True, True), "label_smoothing is 1"),
        (lambda: Halo(D, K, "notes", None, -0.1, True, True), "label_smoothing is -0.1"),
        (lambda: LogitNorm(D, K, 0.0), "tau is 0"),
        (lambda: LogitNorm(D, K, -1.0), "tau is -1"),
        (lambda: GHMC(D, K, 0, 0.0, 1.0), "bins is 0"),
        (lambda: GHMC(D, K, 10, 1.0, 1.0), "momentum is 1"),
        (lambda: GHMC(D, K, 10, -0.1, 1.0), "momentum is -0.1"),
        (lambda: Circle(D, K, "pairwise", 0.25, 64, 16), "variant is 'pairwise'.*pairwise_per_anchor"),
        (lambda: Circle(D, K, "class_level", 0.25, 0, 16), "gamma is 0"),
        (lambda: Circle(D, K, "class_level", 0.25, 64, -1), "scale is -1"),
        (lambda: Focal(D, K, -0.5), "gamma is -0.5"),
    ],
)
def test_a_senseless_hyperparameter_is_named_with_its_value(build: Callable[[], Objective], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        build()
