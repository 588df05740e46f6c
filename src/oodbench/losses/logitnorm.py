from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.objective import SoftmaxObjective


def logitnorm_loss(logits: Tensor, labels: Tensor, tau: float) -> Tensor:
    """L = mean_i CE(f_i / (|f_i| + 1e-7) / tau, y_i)   (Wei et al., 2022, eq. 5 and the authors' code)

    logits (B, K), labels (B,) -> scalar. The 1e-7 is added to the norm, not inside it, as in the authors' code.
    """
    norm = logits.norm(dim=1, keepdim=True) + 1e-7  # torch's norm has gradient 0, not NaN, at 0
    return F.cross_entropy(logits / norm / tau, labels)


class LogitNorm(SoftmaxObjective):
    """L = mean_i CE(f_i / (|f_i| + 1e-7) / tau, y_i)   (Wei et al., 2022, eq. 5 and the authors' code)

    f = linear head. At test time neither the norm nor tau is used: log_probs = log softmax(f), under-confident by
    design, OOD score = -max_k log p_k.
    """

    def __init__(self, num_features: int, num_classes: int, tau: float) -> None:
        super().__init__(num_features, num_classes)
        if tau <= 0:
            raise ValueError(f"tau is {tau}; the temperature must be positive")
        self.tau = tau

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return logitnorm_loss(self.logits(features), labels, self.tau)
