from torch import Tensor

from oodbench.detectors.reference import NotApplicable
from oodbench.losses.objective import Objective, SoftmaxObjective

NOTHING_TO_TRAIN = "what was trained elsewhere has outputs and no loss; there is nothing to train here"


class ExternalLinear(SoftmaxObjective):
    """The linear head of a network that was trained elsewhere, read by a softmax; not to be trained."""

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError(NOTHING_TO_TRAIN)


class ExternalLogits(Objective):
    """Logits z of a network trained elsewhere, read by a softmax: prediction argmax z, strangeness -max_k log p_k.

    Its head is not known: a detector that asks for logits of other features learns that it does not apply.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__()

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        raise NotImplementedError(NOTHING_TO_TRAIN)

    def logits(self, features: Tensor) -> Tensor:
        raise NotApplicable("applies the head again; these outputs came without one")

    def log_probs(self, logits: Tensor) -> Tensor:
        return logits.log_softmax(1)

    def ood_score(self, logits: Tensor) -> Tensor:
        return -self.log_probs(logits).amax(1)
