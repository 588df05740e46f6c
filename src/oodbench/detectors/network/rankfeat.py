import torch
from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.network.network import Network, Scorer
from oodbench.detectors.reference import NotApplicable


def rankfeat(network: Network, train: Split) -> Scorer:
    """-log sum_k exp((z_k + z'_k) / 2)   (Song, Sebe & Wang, 2022)

    z: the K classes' logits where the last stage's map is without its largest singular part; z': where the one before
    it is.
    """
    *_, last_stage = network.staged().stages()

    def score(x: Tensor) -> Tensor:
        before, last = network.maps(x)[-2:]
        if last.shape[2:].numel() == 1:
            raise NotApplicable("a map of one pixel is all its largest singular part")
        lean = without_largest(last), last_stage(without_largest(before))
        z, z_before = (network.class_logits(network.pool(maps)).double() for maps in lean)
        return -((z + z_before) / 2).logsumexp(1)

    return network.scorer(score)


def without_largest(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> X - s_1 u_1 v_1' of every image's X (C, HW), as X - X v_1 v_1', v_1 from X'X in float64"""
    X = maps.flatten(2)
    v = torch.linalg.eigh((X.mT @ X).cpu().double()).eigenvectors[:, :, -1:].to(X)
    return (X - X @ v @ v.mT).view_as(maps)
