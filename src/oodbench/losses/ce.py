from torch import Tensor
from torch.nn import functional as F

from oodbench.losses.objective import SoftmaxObjective


class CrossEntropy(SoftmaxObjective):
    """L = mean_i -sum_k t_ik log softmax(f_i)_k,   t_ik = (1 - ls) [k = y_i] + ls / K

    f = linear head, log_probs = log softmax(f), OOD score = -max_k log p_k. ls = 0 is plain cross entropy; label
    smoothing spreads ls over all K classes, the true one included (Szegedy et al., 2016, section 7).
    """

    def __init__(self, num_features: int, num_classes: int, label_smoothing: float) -> None:
        super().__init__(num_features, num_classes)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; it is a share in [0, 1)")
        self.label_smoothing = label_smoothing

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(features), labels, label_smoothing=self.label_smoothing)
