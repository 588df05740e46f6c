from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.logits import log_odds_of_error
from oodbench.detectors.network.network import Network, Scorer
from oodbench.detectors.reference import Array


def odin(network: Network, train: Split, temperature: float, eps: float) -> Scorer:
    """-max_k softmax(z(x') / T)_k,  x' = x - eps sign(grad_x -log max_k softmax(z(x) / T)_k)
    (Liang, Li & Srikant, 2018, eqs. 1 and 2)

    eps in pixels of [0, 1]; z the K classes' logits. As log-odds of being wrong, of the same order.
    """
    if temperature <= 0 or eps < 0:
        raise ValueError(f"temperature is {temperature}, eps is {eps}; one must be positive, the other not negative")

    def surprise(x: Tensor) -> Tensor:
        return -(network.class_logits(network.features(x)) / temperature).log_softmax(1).max(1).values

    def score(x: Tensor) -> Array:
        z = network.class_logits(network.features(network.stepped(x, surprise, eps)))
        return log_odds_of_error(z.double().numpy() / temperature)

    return network.scorer(score)
