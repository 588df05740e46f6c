"""Outputs as a trained network leaves them, of any size, and the losses' work on features."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax

from oodbench.detectors.reference import Array, Reference
from oodbench.losses.objective import Objective
from oodbench.outputs import Outputs

APART = 7.0  # distance of two classes' means in units of the noise: a few in a hundred images are misclassified
ROWS = 16_384  # images at a time


class Problem(NamedTuple):
    test: Outputs
    ood: Outputs
    reference: Reference


def problem(N: int, K: int, D: int, M: int) -> Problem:
    """Return N training images and M images to score, half of them OOD.

    f = relu(1/2 + class pattern + noise). A class raises 15 % of the features; an OOD image's pattern is half as
    strong. The head is linear, nearly the best one, with a softmax. 2 % of the labels are wrong.
    """
    rng = np.random.default_rng(0)
    pattern = (rng.random((K, D)) < 0.15) * np.float32(APART / np.sqrt(2 * D * 0.15 * 0.85))
    W = pattern - pattern.mean(0)
    b = -(W * (0.5 + pattern / 2)).sum(1)

    def head(features: Array) -> Array:
        return features @ W.T + b

    def outputs(n: int, strength: float) -> Outputs:
        labels = np.concatenate([rng.permutation(K), rng.integers(K, size=max(0, n - K))])[:n]  # no class is empty
        features, logits = np.empty((n, D), np.float32), np.empty((n, K), np.float32)
        log_probs = np.empty((n, K))
        for start in range(0, n, ROWS):
            rows = slice(start, start + ROWS)
            f = rng.standard_normal((len(labels[rows]), D), dtype=np.float32)
            f += np.float32(0.5) + np.float32(strength) * pattern[labels[rows]]
            features[rows] = np.maximum(f, 0)
            logits[rows] = head(features[rows])
            log_probs[rows] = log_softmax(logits[rows].astype(np.float64), axis=1)
        labels[: n // 50] = rng.integers(K, size=n // 50)
        return Outputs(features, logits, log_probs, -log_probs.max(1), labels)

    train = outputs(N, 1.0)
    return Problem(outputs(M - M // 2, 1.0), outputs(M // 2, 0.5), Reference(train, head, (W, b), None))


def forward_and_backward(objective: Objective, features: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    """(B, D), (B,): the training loss and its gradients, of the parameters and of the features"""
    f = torch.from_numpy(features).requires_grad_()
    objective.zero_grad()
    objective.loss(f, torch.from_numpy(labels)).backward()
