"""Gram matrices of feature maps, compared with those of training images of the predicted class."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from oodbench.data.split import Split
from oodbench.detectors.network.network import Images, Network, Scorer, to_float64
from oodbench.detectors.reference import NotApplicable

TINY = 1e-6  # of the authors' code, added to a bound that may be 0; here also to a stage's expected deviation


def gram(network: Network, train: Split, powers: int, held_out: float, seed: int) -> Scorer:
    """sum_l d_l / E[d_l],  d_l = sum_{p, i} ([low - g_i^p]_+ / |low| + [g_i^p - high]_+ / |high|) / max_k p_k,
    g_i^p = (sum_j (F^p F^p')_ij)^(1/p), F^p the (C, HW) map of stage l to the element-wise power p = 1 .. `powers`
    (Sastry & Oore, 2020, with row sums as in the authors' code)

    low and high are the least and largest g of training images of class argmax_k p_k; E is the mean over `held_out` of
    the images of each class, which do not count for low and high. p_k: normalised predictive probabilities.
    """
    if powers < 1 or not 0 < held_out < 1:
        raise ValueError(f"powers is {powers}, held_out is {held_out}; at least 1 and a share in (0, 1) are needed")
    network.staged()
    apart = draw_held_out(train.labels, held_out, seed)
    bounds = _bounds(network, train.images[~apart], train.labels[~apart], powers)

    def deviations(x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, L), d_l"""
        maps = network.maps(x)
        log_p = network.log_probs(network.pool(maps[-1]))
        confidence, predicted = log_p.log_softmax(1).exp().max(1)
        found = [
            _deviation(row_sums(F, powers), b.low[predicted], b.high[predicted])
            for F, b in zip(maps, bounds, strict=True)
        ]
        return torch.stack(found, 1) / confidence[:, None]

    expected = torch.cat(list(network.map_batches(train.images[apart], deviations))).mean(0) + TINY
    return network.scorer(lambda x: (deviations(x) / expected).sum(1))


def draw_held_out(labels: NDArray[np.integer], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) -> (N,), True for a random `share` of the images of each class. Raises NotApplicable if that is no image."""
    random, chosen = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for k in np.unique(labels):
        rows = np.flatnonzero(labels == k)
        chosen[random.permutation(rows)[: int(share * len(rows))]] = True
    if not chosen.any():
        raise NotApplicable(f"a share of {share} of the training images of each class is no image")
    return chosen


def row_sums(maps: Tensor, powers: int) -> Tensor:
    """(B, C, H, W) -> (B, powers, C) float64 on the CPU, g_i^p of `gram`, without the (C, C) matrices"""
    F, sums = maps.flatten(2), []
    F_p = F
    for _ in range(powers):
        sums.append((F_p @ F_p.sum(1)[:, :, None])[:, :, 0])
        F_p = F_p * F
    g = to_float64(torch.stack(sums, 1))
    return (g.sign() * g.abs() ** (1 / torch.arange(1, powers + 1, device=g.device)[:, None])).cpu()


class Bounds(NamedTuple):
    """Least and largest g of each class in one stage, (K, powers, C)"""

    low: Tensor
    high: Tensor


def _bounds(network: Network, images: Images, labels: NDArray[np.integer], powers: int) -> list[Bounds]:
    """(N, 32, 32, 3), (N,) -> the bounds of every stage"""
    K = int(labels.max()) + 1
    bounds: list[Bounds] = []
    start = 0
    for rows in network.map_batches(images, lambda x: [row_sums(F, powers) for F in network.maps(x)]):
        y = torch.from_numpy(labels[start : start + len(rows[0])])
        start += len(y)
        bounds = bounds or [
            Bounds(*(torch.full((K, *g.shape[1:]), end).double() for end in (torch.inf, -torch.inf))) for g in rows
        ]
        for g, (low, high) in zip(rows, bounds, strict=True):
            for k in y.unique():
                low[k] = torch.minimum(low[k], g[y == k].amin(0))
                high[k] = torch.maximum(high[k], g[y == k].amax(0))
    return bounds


def _deviation(g: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """g, low, high (B, powers, C) -> (B,), sum of the relative deviations from the bounds"""
    below, above = (low - g).relu() / (low.abs() + TINY), (g - high).relu() / (high.abs() + TINY)
    return (below + above).sum((1, 2))
