import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective


class IsoMaxPlus(Objective):
    """L = mean_i CE(E f_i, y_i), f_ik = -|d_s| | x_i / |x_i| - p_k / |p_k| |
    (Macedo & Ludermir, 2021, arXiv 2105.14399, and the authors' code)

    Prototypes p (K, D) and the distance scale d_s are learned; E is the entropic scale of the loss alone. log_probs =
    log softmax(f), without E, and under-confident by design: f spans at most 2 |d_s|. OOD score = -max_k f_k, |d_s|
    times the smallest distance.
    """

    def __init__(self, num_features: int, num_classes: int, entropic_scale: float) -> None:
        super().__init__()
        if entropic_scale <= 0:
            raise ValueError(f"entropic_scale is {entropic_scale}; it must be positive")
        self.entropic_scale = entropic_scale
        self.prototypes = nn.Parameter(torch.randn(num_classes, num_features))
        self.distance_scale = nn.Parameter(torch.ones(1))

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.entropic_scale * self.logits(features), labels)

    def logits(self, features: Tensor) -> Tensor:
        x, p = F.normalize(features), F.normalize(self.prototypes)
        distance = torch.cdist(x, p, compute_mode="donot_use_mm_for_euclid_dist")  # gradient 0 at distance 0
        return -self.distance_scale.abs() * distance

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log softmax(f)"""
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), -max_k f_k"""
        return -logits.amax(1)

    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """|d_s|: weight decay pulls it, and with it all logits, together."""
        return {"distance_scale": self.distance_scale.detach().abs()[0]}
