from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.objective import SoftmaxObjective


def focal_loss(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """L = mean_i -(1 - p_y)^gamma log p_y,   p = softmax(f)   (Lin et al., 2017, eq. 4, softmax form, no alpha)

    logits (B, K), labels (B,) -> scalar.
    """
    log_p = -F.cross_entropy(logits, labels, reduction="none")  # (B,)
    miss = -log_p.expm1()  # 1 - p_y, exact where p_y is close to 1
    if gamma < 1:
        miss = miss.clamp_min(1e-12)  # d miss^gamma is infinite at 0, times log p_y = 0: NaN
    return (-miss.pow(gamma) * log_p).mean()


class Focal(SoftmaxObjective):
    """L = mean_i -(1 - p_y)^gamma log p_y,   p = softmax(f)   (Lin et al., 2017, eq. 4, softmax form, no alpha)

    f = linear head, log_probs = log softmax(f), OOD score = -max_k log p_k. gamma = 0 is cross entropy.
    """

    def __init__(self, num_features: int, num_classes: int, gamma: float) -> None:
        super().__init__(num_features, num_classes)
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; the focal loss needs gamma >= 0")
        self.gamma = gamma

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return focal_loss(self.logits(features), labels, self.gamma)
