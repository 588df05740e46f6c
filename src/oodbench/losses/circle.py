import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective

VARIANTS = ("class_level", "pairwise_global", "pairwise_per_anchor")


def pull_and_push(cosine: Tensor, same: Tensor, m: float, gamma: float) -> Tensor:
    """Exponents of the circle loss: -gamma [1 + m - s]_+ (s - (1 - m)) where `same`, else gamma [s + m]_+ (s - m).

    cosine and same (bool) of one shape. The brackets are weights without a gradient (Sun et al., 2020, eq. 5 to 8).
    """
    alpha = torch.where(same, 1 + m - cosine, cosine + m).relu().detach()
    return gamma * alpha * torch.where(same, (1 - m) - cosine, cosine - m)


def class_level_loss(cosine: Tensor, labels: Tensor, m: float, gamma: float) -> Tensor:
    """L = mean_i softplus(LSE_{k != y_i} ln_ik + lp_iy)   (Sun et al., 2020, eq. 6 with one positive, the class's)

    cosine (B, K) to the classes' prototypes, labels (B,) -> scalar.
    """
    own = F.one_hot(labels, cosine.shape[1]).bool()
    exponent = pull_and_push(cosine, own, m, gamma)
    return F.cross_entropy(torch.where(own, -exponent, exponent), labels)  # the same sum, written as a softmax


def pairwise_loss(features: Tensor, labels: Tensor, m: float, gamma: float, per_anchor: bool) -> Tensor:
    """L = softplus(LSE_N ln + LSE_P lp) over pairs of the batch   (Sun et al., 2020, eq. 6)

    features (B, D), labels (B,) -> scalar. P pairs of one class, N of two. Batch-global: one sum over all i < j.
    Per anchor: a sum for each i over all j != i, then the mean of the sums that are > 0. No P or no N: 0, gradient 0.
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
    """Cosines to class prototypes, pulled and pushed by how far each is from where it should be.

    `class_level` learns the prototypes with the network. The two pairwise variants compare the batch's images with one
    another and take the classes' mean directions from the training set afterwards (`settle`); until then they cannot
    classify and their logits are NaN. Read by softmax(scale * cosine): the scale decides the calibration error, not
    the prediction. Strangeness -max_k cosine.
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
            return class_level_loss(self.logits(features), labels, self.m, self.gamma)
        return pairwise_loss(features, labels, self.m, self.gamma, self.variant == "pairwise_per_anchor")

    def logits(self, features: Tensor) -> Tensor:
        return F.normalize(features) @ F.normalize(self.prototypes).T

    def log_probs(self, logits: Tensor) -> Tensor:
        return (self.scale * logits).log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        return -logits.amax(1)

    @torch.no_grad()
    def finalize(self, features: Tensor, labels: Tensor) -> None:
        if self.variant != "class_level":
            member = F.one_hot(labels, len(self.prototypes)).to(features)  # (N, K)
            self.prototypes.copy_(F.normalize(member.T @ F.normalize(features)))
