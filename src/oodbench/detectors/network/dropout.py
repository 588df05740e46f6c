import math

import torch
from torch import Tensor, nn

from oodbench.data.split import Split
from oodbench.detectors.network.network import Network, Scorer
from oodbench.detectors.reference import NotApplicable

DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def mc_dropout(network: Network, train: Split, passes: int, seed: int) -> Scorer:
    """-max_k mean_t p_k^(t), t = 1 .. `passes` forward passes with dropout   (Gal & Ghahramani, 2016)

    p: the predictive probabilities of the loss. The dropout masks are the same for every batch.
    """
    if passes < 1:
        raise ValueError(f"passes is {passes}; at least 1 is needed")
    layers = [module for module in network.backbone.modules() if isinstance(module, DROPOUT) and module.p > 0]
    if not layers:
        raise NotApplicable("needs dropout; this backbone has none")

    def score(x: Tensor) -> Tensor:
        devices = [x.device] if x.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            for layer in layers:
                layer.train()
            try:
                log_p = torch.stack([network.log_probs(network.features(x)) for _ in range(passes)])
            finally:
                network.backbone.eval()
        return -(log_p.logsumexp(0) - math.log(passes)).max(1).values.exp()

    return network.scorer(score)
