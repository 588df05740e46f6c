import torch
from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.network.network import Network, Scorer, to_float64
from oodbench.detectors.reference import NotApplicable


def rankfeat(network: Network, train: Split) -> Scorer:
    """-log sum_k exp((z_k + z'_k) / 2)   (Song, Sebe & Wang, 2022)

    z: logits of the K classes after the last stage's map has lost its largest singular component; z': after the map of
    the stage before has lost its own.
    """
    *_, last_stage = network.staged().stages()

    def score(x: Tensor) -> Tensor:
        before, last = network.maps(x)[-2:]
        if last.shape[2:].numel() == 1:
            raise NotApplicable("a map of one pixel is its own largest singular component")
        reduced = without_largest(last), last_stage(without_largest(before))
        z, z_before = (network.class_logits(network.pool(maps)).double() for maps in reduced)
        return -((z + z_before) / 2).logsumexp(1)

    return network.scorer(score)


def without_largest(maps: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H, W), X - s_1 u_1 v_1' of each image's X (C, HW), as X - X v_1 v_1', v_1 from X'X"""
    X = maps.flatten(2)
    v = torch.linalg.eigh(to_float64(X.mT @ X)).eigenvectors[:, :, -1:].to(X)
    return (X - X @ v @ v.mT).view_as(maps)
