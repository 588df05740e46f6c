"""Toy problems for detectors: random outputs, Gaussian blobs with a linear head, features under any loss's head."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from helpers.config import ROOT, composed, names
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.special import log_softmax

from oodbench.detectors.reference import Array, Reference
from oodbench.evaluation.evaluate import Detector
from oodbench.model import head_fn, linear_weights, predict
from oodbench.outputs import Outputs

DETECTORS = names("detector")


def detector(name: str, **hyperparameters: Any) -> Detector:
    """Return the detector of conf/detector, with its defaults or other hyperparameters."""
    return instantiate(OmegaConf.load(ROOT / f"conf/detector/{name}.yaml"), **hyperparameters)


def classifier(n: int, classes: int, scale: float, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits z, and labels drawn from softmax(z / scale): the best temperature is near scale"""
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, classes)) * 2
    labels = (z + random.gumbel(size=z.shape)).argmax(1)
    return z * scale, labels


class Problem(NamedTuple):
    test: Outputs
    ood: Outputs
    reference: Reference


def rows(outputs: Outputs, which: Any) -> Outputs:
    """Select images by an index, a mask or a slice."""
    return Outputs(*(array[which] for array in outputs))


def random_outputs(n: int = 40, extra: int = 0, seed: int = 0) -> Outputs:
    """4 classes, 6 features; all five fields are independent of one another. extra: logits beyond the classes."""
    random = np.random.default_rng(seed)
    features, logits = random.normal(size=(n, 6)), random.normal(size=(n, 4 + extra)) * 5
    log_probs = log_softmax(random.normal(size=(n, 4)), axis=1)
    labels = random.integers(4, size=n)
    return Outputs(features.astype("f4"), logits.astype("f4"), log_probs, random.normal(size=n), labels)


NO_HEAD = Reference(random_outputs(), head=None, linear=None, validation=None)


def outputs_of(features: Array, labels: NDArray[np.integer], W: Array, b: Array, extra: int = 0) -> Outputs:
    """Outputs of a linear head with a softmax. extra: constant logits beyond the classes."""
    z = features @ W.T + b
    logits = np.concatenate([z, np.full((len(z), extra), 3.0)], axis=1).astype("f4")
    log_probs = log_softmax(logits[:, : len(b)].astype("f8"), axis=1)
    return Outputs(features.astype("f4"), logits, log_probs, -log_probs.max(1), labels)


def random_problem(K: int = 4, D: int = 6, n: int = 60, signed: bool = False, seed: int = 0, extra: int = 0) -> Problem:
    """A random linear head, random features, labels that often are its prediction; test and ood are alike."""
    random = np.random.default_rng(seed)
    W = random.normal(size=(K, D)).astype("f4")
    b = (random.normal(size=K) / 3 - (not signed) * 0.8 * W.sum(1)).astype("f4")  # 0.8: the mean of |N(0, 1)|

    def outputs(n: int) -> Outputs:
        features = random.normal(size=(n, D)).astype("f4")
        features = features if signed else np.abs(features)
        labels = (features @ W.T + b + random.normal(size=(n, K))).argmax(1)
        labels[:K] = np.arange(K)  # every class has an image
        return outputs_of(features, labels, W, b, extra)

    def head(features: Array) -> Array:
        return outputs_of(features, np.zeros(len(features), int), W, b, extra).logits

    return Problem(outputs(n), outputs(n), Reference(outputs(2 * n), head, (W, b), None))


def blobs() -> Problem:
    """Four Gaussians, in each of which six of 24 features are large, under a linear head that knows them.

    In OOD images few features, of any class, are large. Some training labels are wrong, so that a best temperature
    exists.
    """
    random = np.random.default_rng(0)
    blocks = np.repeat(np.eye(4), 6, axis=1)
    W, b = (blocks - 0.2).astype("f4"), np.full(4, -3, "f4")

    def features(n: int, ood: bool) -> tuple[Array, NDArray[np.integer]]:
        labels = random.integers(4, size=n)
        if ood:
            return np.abs(random.normal(size=(n, 24))) * 1.5 * (random.random((n, 24)) < 0.2), labels
        return np.abs(2 * blocks[labels] + 0.5 * random.normal(size=(n, 24))), labels

    def head(f: Array) -> Array:
        return (f @ W.T + b).astype("f4")

    train, test, ood = (outputs_of(*features(n, ood), W, b) for n, ood in ((400, False), (200, False), (200, True)))
    train.labels[:8] = (train.labels[:8] + 1) % 4
    return Problem(test, ood, Reference(train, head, (W, b), None))


def collapsed(spread: float) -> Problem:
    """20 classes of 64 features that lie within `spread` of their means; OOD images lie three times as far."""
    random = np.random.default_rng(0)
    means = random.normal(size=(20, 64))

    def outputs(n: int, spread: float) -> Outputs:
        labels = np.arange(n) % 20
        features = (means[labels] + spread * random.normal(size=(n, 64))).astype("f4")
        return Outputs(features, features[:, :20], log_softmax(features[:, :20].astype("f8"), 1), np.zeros(n), labels)

    reference = Reference(outputs(2000, spread), head=None, linear=None, validation=None)
    return Problem(outputs(300, spread), outputs(300, 3 * spread), reference)


@cache
def under_loss(loss: str) -> Problem:
    """Random features after a ReLU under the untrained, finalized head of a loss; not to be changed."""
    torch.default_generator.manual_seed(0)
    objective = instantiate(composed("dataset=digits", f"loss={loss}").loss, num_features=12, num_classes=4)
    generator = torch.Generator().manual_seed(0)

    def outputs(n: int) -> Outputs:
        features, labels = torch.randn(n, 12, generator=generator).relu(), torch.arange(n) % 4
        if n == 400:
            objective.finalize(features, labels)
        return predict(objective, features, labels.numpy())

    train, test, ood = outputs(400), outputs(100), outputs(100)
    return Problem(test, ood, Reference(train, head_fn(objective), linear_weights(objective), None))
