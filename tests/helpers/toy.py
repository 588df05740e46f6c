"""Toy problems for the detectors: outputs drawn at random, blobs with a head that knows them, tiny trained networks."""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from helpers.config import ROOT, composed, names
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.special import log_softmax
from torch import Tensor, nn

from oodbench.detectors.reference import Array, Reference
from oodbench.evaluation.evaluate import Detector
from oodbench.model import head_fn, linear_weights, predict
from oodbench.outputs import Outputs

DETECTORS = [name for name in names("detector") if name != "all"]


def detector(name: str, **hyperparameters: Any) -> Detector:
    """As the command line makes it, with its defaults or others."""
    return instantiate(OmegaConf.load(ROOT / f"conf/detector/{name}.yaml"), **hyperparameters)


class Problem(NamedTuple):
    test: Outputs
    ood: Outputs
    reference: Reference


def outputs_of(features: Array, labels: NDArray[np.integer], W: Array, b: Array, extra: int = 0) -> Outputs:
    """Of a linear head read by a softmax, with columns beyond the classes that say nothing."""
    z = features @ W.T + b
    logits = np.concatenate([z, np.full((len(z), extra), 3.0)], axis=1).astype("f4")
    log_probs = log_softmax(logits[:, : len(b)].astype("f8"), axis=1)
    return Outputs(features.astype("f4"), logits, log_probs, -log_probs.max(1), labels)


def random_problem(K: int = 4, D: int = 6, n: int = 60, signed: bool = False, seed: int = 0, extra: int = 0) -> Problem:
    """A random linear head over random features, labels that often are what it says; test and ood are alike."""
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
    """Four Gaussians, each where six of 24 features fire, and a linear head that knows them; in what is strange few do.

    Some training labels are wrong, so that there is a best temperature.
    """
    random = np.random.default_rng(0)
    blocks = np.repeat(np.eye(4), 6, axis=1)
    W, b = (blocks - 0.2).astype("f4"), np.full(4, -3, "f4")

    def features(n: int, strange: bool) -> tuple[Array, NDArray[np.integer]]:
        labels = random.integers(4, size=n)
        if strange:
            return np.abs(random.normal(size=(n, 24))) * 1.5 * (random.random((n, 24)) < 0.2), labels
        return np.abs(2 * blocks[labels] + 0.5 * random.normal(size=(n, 24))), labels

    def head(f: Array) -> Array:
        return (f @ W.T + b).astype("f4")

    train, test, ood = (outputs_of(*features(n, strange), W, b) for n, strange in ((400, 0), (200, 0), (200, 1)))
    train.labels[:8] = (train.labels[:8] + 1) % 4
    return Problem(test, ood, Reference(train, head, (W, b), None))


@cache
def tiny(loss: str) -> Problem:
    """A network of one hidden layer, trained with a loss of conf/loss; images at the origin are strange."""
    torch.default_generator.manual_seed(0)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
    objective = instantiate(composed("dataset=digits", f"loss={loss}").loss, num_features=32, num_classes=4)

    def draw(n: int, distance: float) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % 4
        return distance * torch.eye(4, 8)[labels] + torch.randn(n, 8), labels

    x, y = draw(400, 4.0)
    y[:12] = (y[:12] + 1) % 4  # wrong labels, so that there is a best temperature
    optimizer = torch.optim.Adam([*network.parameters(), *objective.parameters()], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        objective.loss(network(x), y).backward()
        optimizer.step()

    def outputs(x: Tensor, labels: Tensor) -> Outputs:
        with torch.no_grad():
            return predict(objective, network(x), labels.numpy())

    with torch.no_grad():
        objective.finalize(network(x), y)
    strange = draw(200, 0.0)
    reference = Reference(outputs(x, y), head_fn(objective), linear_weights(objective), None)
    return Problem(outputs(*draw(200, 4.0)), outputs(*strange), reference)
