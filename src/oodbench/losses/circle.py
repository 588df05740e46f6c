import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective

VARIANTS = ("class_level", "pairwise_global", "pairwise_per_anchor")


def pull_and_push(cosine: Tensor, same: Tensor, m: float, gamma: float) -> Tensor:
    """-gamma [1 + m - s]_+ (s - (1 - m)) where `same`, else gamma [s + m]_+ (s - m)   (Sun et al., 2020, eq. 5 to 8)

    cosine s and same (bool) of one shape -> that shape. The factors [.]_+ are constants for the gradient.
    """
    alpha = torch.where(same, 1 + m - cosine, cosine + m).relu().detach()
    return gamma * alpha * torch.where(same, (1 - m) - cosine, cosine - m)


def class_level_loss(cosine: Tensor, labels: Tensor, m: float, gamma: float) -> Tensor:
    """L = mean_i softplus(LSE_{k != y_i} ln_ik + lp_iy)   (Sun et al., 2020, eq. 6 with one positive, the class's)

    cosine (B, K) to the prototypes of the classes, labels (B,) -> scalar.
    """
    is_true = F.one_hot(labels, cosine.shape[1]).bool()
    exponent = pull_and_push(cosine, is_true, m, gamma)
    return F.cross_entropy(torch.where(is_true, -exponent, exponent), labels)  # the same sum, written as a softmax


def pairwise_loss(features: Tensor, labels: Tensor, m: float, gamma: float, per_anchor: bool) -> Tensor:
    """L = softplus(LSE_N ln + LSE_P lp) over pairs of the batch   (Sun et al., 2020, eq. 6)

    features (B, D), labels (B,) -> scalar. P: pairs of one class, N: pairs of two classes. Over the whole batch: all
    i < j. Per anchor: for each i all j != i, then the mean of the terms that are > 0. Without P or N: 0, gradient 0.
    """
    unit = F.normalize(features)
    pairs = torch.ones(len(labels), len(labels), dtype=torch.bool, device=labels.device).triu(1)
    if per_anchor:
        pairs = pairs | pairs.T
    same = labels[:, None] == labels
    exponent = pull_and_push(unit @ unit.T, same, m, gamma)
    if not per_anchor:
        exponent, same, pairs = exponent.flatten()[None], same.flatten()[None], pairs.flatten()[None]
    positive = exponent.masked_fill(~(pairs & same), -torch.inf).logsumexp(1)  # an excluded pair never meets exp
    negative = exponent.masked_fill(~(pairs & ~same), -torch.inf).logsumexp(1)
    anchors = F.softplus(positive + negative)  # (B,) or (1,); 0 where a set is empty: softplus(-inf)
    return anchors.sum() / (anchors > 0).sum().clamp_min(1)


class Circle(Objective):
    """L = softplus(LSE_N gamma [s + m]_+ (s - m) + LSE_P -gamma [1 + m - s]_+ (s - 1 + m))   (Sun et al., 2020, eq. 6)

    s is a cosine. class_level: of a feature with learned class prototypes, P the true class, N the others; mean over
    the batch. pairwise_global: of two features of the batch, P pairs of one class, N of two; one sum over all pairs.
    pairwise_per_anchor: the same pairs, one sum for each image. The pairwise variants set the prototypes to the mean
    directions of the classes after training (`finalize`); before that their logits are NaN. logits = scale times the
    cosines to the prototypes, log_probs = log softmax(logits), OOD score = -max_k cosine. The scale decides the
    calibration error, and what detectors see of the logits; it decides neither the prediction nor the OOD score.
    """

    prototypes: Tensor

    def __init__(self, num_features: int, num_classes: int, variant: str, m: float, gamma: float, scale: float) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; the circle loss has {', '.join(VARIANTS)}")
        if gamma <= 0 or scale <= 0:
            raise ValueError(f"gamma is {gamma}, scale is {scale}; both must be positive")
        self.variant, self.m, self.gamma, self.scale = variant, m, gamma, scale
        if variant == "class_level":
            self.prototypes = nn.Parameter(nn.Linear(num_features, num_classes, bias=False).weight.detach())
        else:
            self.register_buffer("prototypes", torch.full((num_classes, num_features), torch.nan))

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        if self.variant == "class_level":
            return class_level_loss(self.cosine(features), labels, self.m, self.gamma)
        return pairwise_loss(features, labels, self.m, self.gamma, self.variant == "pairwise_per_anchor")

    def cosine(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K), cosines to the prototypes"""
        return F.normalize(features) @ F.normalize(self.prototypes).T

    def logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K), scale cosine"""
        return self.scale * self.cosine(features)

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log softmax(scale cosine)"""
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), -max_k cosine"""
        return -logits.amax(1) / self.scale

    @torch.no_grad()
    def finalize(self, features: Tensor, labels: Tensor) -> None:
        if self.variant != "class_level":
            one_hot = F.one_hot(labels, len(self.prototypes)).to(features)  # (N, K)
            self.prototypes.copy_(F.normalize(one_hot.T @ F.normalize(features)))
