import torch
from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.objective import SoftmaxObjective


def unit(features: Tensor) -> Tensor:
    """(B, D) -> (B, D), x / |x|; where x is 0 it stays 0, with gradient 0"""
    norm = features.norm(dim=1, keepdim=True)  # torch's norm has gradient 0, not NaN, at 0
    return torch.where(norm > 0, features / torch.where(norm > 0, norm, 1), 0)


class T2FNorm(SoftmaxObjective):
    """L = mean_i CE(W x_i / (|x_i| tau) + b, y_i)   (Regmi et al., 2023, arXiv 2305.17797, and the authors' code)

    The bias is not divided by tau. At test time the feature is not normalised, but still divided by tau: logits f =
    W x / tau + b, log_probs = log softmax(f), OOD score = -max_k log p_k. Its confidence grows with |x|.
    """

    def __init__(self, num_features: int, num_classes: int, tau: float) -> None:
        super().__init__(num_features, num_classes)
        if tau <= 0:
            raise ValueError(f"tau is {tau}; the temperature must be positive")
        self.tau = tau

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(unit(features)), labels)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features / self.tau)

    def linear(self) -> tuple[Tensor, Tensor]:
        return self.head.weight / self.tau, self.head.bias

    @torch.no_grad()
    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Mean |x|, which shrinks in training; the gradient grows as 1 / |x|."""
        return {"feature_norm": features.norm(dim=1).mean()}
