import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective

VARIANTS = ("published", "notes")
COLLAPSED = 0.1  # a gamma = softplus(raw) below which d gamma / d raw is below 0.1, so that it hardly grows again


def published_abstain_bias(gamma: float, K: int, D: int, ls: float) -> float:
    """2/D gamma - log((1 - ls + ls/K) / (ls/K)); ls = 0: 0.99 and 0.01/K instead of the two probabilities"""
    max_p, min_p = (1 - ls + ls / K, ls / K) if ls > 0 else (0.99, 0.01 / K)
    return gamma * 2 / D - math.log(max_p / min_p)


class Halo(Objective):
    """L = mean_i CE(T_i, S_i) + radial_weight rad(|z_i - c_y|^2 / D)   (https://www.pisoni.ai/posts/halo)

    S = [gamma (2 z.c_k - |c_k|^2) / D for every class, abstain_bias], (B, K+1): distances -gamma |z - c_k|^2 / D to the
    centroids c, whose mean is 0, and to an abstain class at the origin, all shifted by gamma |z|^2 / D.

    published: as the author's listing. T = softmax over the K classes of 0 for the true class and of -gamma |z - c_k|^2
        / (D ls) for the others; without `distill`, or with ls = 0, label smoothing over the K classes.
    notes: L = mean_i CE(T_i, S_i) + KL_i + radial_weight rad(|z_i|^2 / D). T = label smoothing over the K+1 columns,
        KL_i = -log(1 - p_y) with `distill`, else 0. Its minimum is at p_y = T_y / 2: well ranked, badly calibrated.
    rad(r2) = r2 / 2 - (1/2 - 1/D) log r2, which is least at r2 = 1 - 2/D.

    gamma = softplus(raw_gamma), learned, never decayed, at first 20 / (1 + 2/D) where none is given; z = linear
    embedding. abstain_bias, where none is given: 2/D times the first gamma, less log((1 - ls + ls/K) / (ls/K)), or for
    ls = 0 less log(0.99 / (0.01/K)).
    log_probs = the first K columns of log softmax(S), OOD score = log p(abstain), its last column: as abstain_bias is a
    constant, it ranks images as the energy of the K other columns does.
    """

    no_weight_decay = ("raw_gamma",)

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        variant: str,
        embedding_dim: int | None,
        label_smoothing: float,
        distill: bool,
        learn_gamma: bool,
        gamma: float | None,
        radial_weight: float,
        abstain_bias: float | None,
    ) -> None:
        super().__init__()
        K, D = num_classes, num_classes if embedding_dim is None else embedding_dim
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; HALO has {', '.join(VARIANTS)}")
        if D < 2:
            raise ValueError(f"embedding_dim is {D}; the radial term's target 1 - 2/D needs at least 2")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it is a share in [0, 1)")
        if gamma is not None and gamma <= 0:
            raise ValueError(f"gamma is {gamma}; an inverse temperature is positive")
        self.variant, self.label_smoothing, self.distill = variant, label_smoothing, distill
        self.radial_weight = radial_weight
        self.embed = nn.Linear(num_features, D)
        self.centroids = nn.Parameter(torch.randn(K, D))  # less their mean in every forward pass, see `centres`
        if gamma is None:
            gamma = 20 / (1 + 2 / D)  # 2 = expected |z - c|^2 / D of two N(0, I) vectors, 1 - 2/D the target
        self.first_gamma = gamma
        raw_gamma = gamma + math.log(-math.expm1(-gamma))  # the inverse of softplus, without overflow
        self.raw_gamma = nn.Parameter(torch.tensor([raw_gamma]), requires_grad=learn_gamma)
        if abstain_bias is None:
            abstain_bias = published_abstain_bias(gamma, K, D, label_smoothing)
        self.abstain_bias = abstain_bias  # stays, while gamma is learned

    @property
    def gamma(self) -> Tensor:
        """(1,), inverse temperature of the distances"""
        return F.softplus(self.raw_gamma)

    def centres(self) -> Tensor:
        """(K, D), centroids less their mean"""
        return self.centroids - self.centroids.mean(0)

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return self.embedded_loss(self.embed(features), labels).mean()

    def embedded_loss(self, z: Tensor, labels: Tensor) -> Tensor:
        """(B, D) embeddings, (B,) -> (B,), loss of each image"""
        return self._published(z, labels) if self.variant == "published" else self._notes(z, labels)

    def _published(self, z: Tensor, labels: Tensor) -> Tensor:
        S = self.shifted_logits(z)
        r2 = (z - self.centres()[labels]).square().mean(1)
        cross_entropy = F.cross_entropy(S, self.targets(z.detach(), labels), reduction="none")
        return cross_entropy + self.radial_weight * self._radial(r2)

    def _notes(self, z: Tensor, labels: Tensor) -> Tensor:
        S = self.shifted_logits(z)
        loss = F.cross_entropy(S, labels, label_smoothing=self.label_smoothing, reduction="none")
        if self.distill:  # -log(1 - p_y) without 0 times -inf
            index = labels[:, None]
            others = S.scatter(1, index, -torch.inf).logsumexp(1)
            loss = loss + F.softplus(S.gather(1, index)[:, 0] - others)
        return loss + self.radial_weight * self._radial(z.square().mean(1), eps=1e-8)

    @torch.no_grad()
    def targets(self, z: Tensor, labels: Tensor) -> Tensor:
        """(B, D), (B,) -> (B, K+1), T of the variant `published`; its abstain column is 0."""
        K, ls = len(self.centroids), self.label_smoothing
        one_hot = F.one_hot(labels, K).to(z)
        if self.distill and ls > 0:
            target = self.distances(z).div(ls).masked_fill(one_hot.bool(), 0).softmax(1)
        else:
            target = one_hot if self.distill else (1 - ls) * one_hot + ls / K
        return F.pad(target, (0, 1))

    def _radial(self, r2: Tensor, eps: float = 0.0) -> Tensor:
        """(B,) -> (B,), rad(r2): -log density of |x|^2 / D for x ~ N(0, I), divided by D; finite at r2 = 0"""
        log_r2 = (r2 + eps).log() if eps else r2.clamp_min(1e-12).log()
        return r2 / 2 - (0.5 - 1 / self.centroids.shape[1]) * log_r2

    def shifted_logits(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, K+1), S: -gamma |z - c_k|^2 / D + gamma |z|^2 / D, which no softmax sees, and abstain_bias"""
        c = self.centres()
        s = self.gamma * (2 * z @ c.T - c.square().sum(1)) / c.shape[1]
        return F.pad(s, (0, 1), value=self.abstain_bias)

    def distances(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, K), -gamma |z - c_k|^2 / D <= 0, the logits that the author's listing returns"""
        s = self.shifted_logits(z)[:, :-1]
        return (s - self.gamma * z.square().mean(1, keepdim=True)).clamp_max(0)

    def logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K+1), S"""
        return self.shifted_logits(self.embed(features))

    def linear(self) -> tuple[Tensor, Tensor]:
        """-> W = 2 gamma / D c E, b = gamma / D (2 c e - |c_k|^2), for an embedding z = E f + e"""
        c, scale = self.centres(), self.gamma / self.centroids.shape[1]
        return 2 * scale * c @ self.embed.weight, scale * (2 * c @ self.embed.bias - c.square().sum(1))

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log softmax(S), without its last column"""
        return logits.log_softmax(1)[:, :-1]

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), log p(abstain)"""
        return logits.log_softmax(1)[:, -1]

    def finalize(self, features: Tensor, labels: Tensor) -> None:
        """Warn where gamma has collapsed."""
        if (gamma := float(self.gamma.detach())) < min(COLLAPSED, self.first_gamma):
            warnings.warn(
                f"HALO's gamma fell from {self.first_gamma:.3g} to {gamma:.2g}, too small to grow again: the training "
                "has collapsed, and needs a lower learning rate, warm-up or gradient clipping",
                stacklevel=2,
            )

    @torch.no_grad()
    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """gamma; mean |z - c_y|^2 / D, whose target is 1 - 2/D; mean |z|^2 / D; mean p(abstain)

        A gamma near 0 stays there: the training has collapsed.
        """
        z = self.embed(features)
        return {
            "gamma": self.gamma[0],
            "r2": (z - self.centres()[labels]).square().mean(),
            "z2": z.square().mean(),
            "p_abstain": self.shifted_logits(z).softmax(1)[:, -1].mean(),
        }
