from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.gaussian import tied_gaussians
from oodbench.detectors.network.network import Network, Scorer, to_float64


def mahalanobis_layers(
    network: Network, train: Split, ridge: float, weights: Sequence[float] | None, eps: float
) -> Scorer:
    """sum_l w_l M_l(x_l'),  M_l(x) = min_k (f_l - m_lk)' C_l^-1 (f_l - m_lk),  x_l' = x - eps sign(grad_x M_l(x)) / std
    (Lee et al., 2018, section 2.2)

    f_l is the map of stage l, pooled over its pixels as the backbone pools its last one: by the mean, as the authors
    do, or in the fast network by the maximum. m_lk: the class means of the training images, C_l their common
    covariance, C_l += ridge mean(diag C_l) I. The authors fit w_l to OOD images; weights null: all w_l = 1. eps in
    units of pixels in [0, 1]; with eps = 0 an image costs one forward pass instead of three per stage.
    """
    stages = len(network.staged().stages())
    w = torch.tensor([1.0] * stages if weights is None else list(weights), dtype=torch.float64)
    if len(w) != stages:
        raise ValueError(f"there are {len(w)} weights; the backbone has {stages} stages")
    if eps < 0:
        raise ValueError(f"eps is {eps}; it must be >= 0, in units of pixels in [0, 1]")

    def pooled(x: Tensor, last: int = stages) -> list[Tensor]:
        return [network.pool(maps) for maps in network.maps(x, last)]

    features = [torch.cat(f).cpu().numpy() for f in zip(*network.map_batches(train.images, pooled), strict=True)]
    fitted = (tied_gaussians(f, train.labels, ridge) for f in features)
    gaussians = [(torch.from_numpy(means), torch.from_numpy(factor)) for means, factor in fitted]

    def distance(x: Tensor, stage: int) -> Tensor:
        """(B, 3, 32, 32) -> (B,), M_l"""
        return nearest(pooled(x, stage + 1)[-1], *gaussians[stage])

    def score(x: Tensor) -> Tensor:
        if eps == 0:
            distances = [nearest(f, *gaussian) for f, gaussian in zip(pooled(x), gaussians, strict=True)]
        else:
            perturbed = (network.perturb(x, partial(distance, stage=stage), eps) for stage in range(stages))
            distances = [distance(x, stage) for stage, x in enumerate(perturbed)]
        return torch.stack(distances, 1).cpu() @ w

    return network.scorer(score)


def nearest(features: Tensor, means: Tensor, factor: Tensor) -> Tensor:
    """(B, C), (K, C), (C, C) -> (B,), min_k |L^-1 (f - m_k)|^2 in float64, from differences, so never negative"""
    wide = to_float64(features)
    centre, means, factor = means.mean(0).to(wide.device), means.to(wide.device), factor.to(wide.device)
    f, m = (torch.linalg.solve_triangular(factor, (a - centre).T, upper=False).T for a in (wide, means))
    return (f[:, None] - m).square().sum(2).min(1).values
