import torch
from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.objective import SoftmaxObjective

TINY = 1e-12  # below it a scale or a distance counts as 0


def boundary_scale(logits: Tensor, weight: Tensor) -> Tensor:
    """s_i = 1/K sum_k (f_ic - f_ik) / |w_c - w_k|, c = argmax_k f_ik   (the authors' code; the divisor is K, not K - 1)

    logits f (B, K), weight W (K, D) -> (B,). A pair of classes with equal weights contributes 0.
    """
    distance = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")  # differences do not cancel
    far = distance > TINY
    inverse = torch.where(far, 1 / torch.where(far, distance, 1), 0)
    largest, predicted = logits.max(1)
    return ((largest[:, None] - logits) * inverse[predicted]).mean(1)


def elogitnorm_loss(logits: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """L = mean_i CE(f_i / s_i, y_i), s = `boundary_scale`; where s is 0 all logits are equal and the row gives log K

    logits f (B, K), weight W (K, D), labels (B,) -> scalar. The gradient flows through s, too.
    """
    scale = boundary_scale(logits, weight)
    return F.cross_entropy(logits / torch.where(scale > TINY, scale, 1)[:, None], labels)


class ELogitNorm(SoftmaxObjective):
    """L = mean_i CE(f_i / s_i, y_i), s_i 1/K times the sum of the distances of the feature to the K - 1 decision
    boundaries of its predicted class   (Ding et al., 2025, arXiv 2504.11434, and the authors' code)

    f = linear head W, b. At test time f is used without s: log_probs = log softmax(f), OOD score = -max_k log p_k. |W|
    acts as the inverse temperature, so the head needs its weight decay.
    """

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return elogitnorm_loss(self.logits(features), self.head.weight, labels)

    @torch.no_grad()
    def diagnostics(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """log10 of the batch's smallest s: the gradient grows as 1 / s."""
        scale = boundary_scale(self.logits(features), self.head.weight)
        return {"log10_min_scale": scale.min().clamp_min(TINY).log10()}
