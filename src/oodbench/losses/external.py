from torch import Tensor

from oodbench.losses.objective import Objective, SoftmaxObjective, nll_of_prediction

NO_LOSS = "external outputs come without a training loss"


class ExternalLinear(SoftmaxObjective):
    """A linear head whose features and logits were computed outside this project, with a softmax; it has no loss."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError(NO_LOSS)


class ExternalLogits(Objective):
    """Logits z computed outside this project by an unknown head, with a softmax: OOD score -max_k log p_k."""

    has_head = False

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError(NO_LOSS)

    def logits(self, features: Tensor) -> Tensor:
        raise NotImplementedError("external logits come without the head that computed them")

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log softmax(z)"""
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), -max_k log p_k"""
        return nll_of_prediction(logits)
