from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.logits import log_odds_of_error
from oodbench.detectors.network.network import Network, Scorer
from oodbench.detectors.reference import Array


def odin(network: Network, train: Split, temperature: float, eps: float) -> Scorer:
    """-max_k softmax(z(x') / T)_k,  x' = x - eps sign(grad_x -log max_k softmax(z(x) / T)_k)
    (Liang, Li & Srikant, 2018, eqs. 1 and 2)

    eps in units of pixels in [0, 1]; z the logits of the K classes. Returned as log-odds log((1 - p) / p), which rank
    like -p and do not saturate.
    """
    if temperature <= 0 or eps < 0:
        raise ValueError(f"temperature is {temperature}, eps is {eps}; temperature must be > 0, eps >= 0")

    def nll(x: Tensor) -> Tensor:
        return -(network.class_logits(network.features(x)) / temperature).log_softmax(1).max(1).values

    def score(x: Tensor) -> Array:
        z = network.class_logits(network.features(network.perturb(x, nll, eps)))
        return log_odds_of_error(z.double().numpy() / temperature)

    return network.scorer(score)
