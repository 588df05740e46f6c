"""A small classifier of the digits, and its feature maps computed by hand."""

from functools import cache
from typing import Any

import numpy as np
import torch
from helpers.config import ROOT, composed
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import OmegaConf
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.data.digits import digits
from oodbench.data.noise import noise
from oodbench.data.split import balanced_subset
from oodbench.detectors.network.network import ImageDetector
from oodbench.detectors.reference import Array
from oodbench.losses.objective import Objective
from oodbench.model import Classifier

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]
TRAIN = balanced_subset(digits("train"), 240, 8)
TEST, NOISE = digits("test").images[:60], noise().images[:60]


def image_detector(name: str, **hyperparameters: Any) -> ImageDetector:
    """Return the detector of conf/image_detector, with its defaults or other hyperparameters."""
    return instantiate(OmegaConf.load(ROOT / f"conf/image_detector/{name}.yaml"), **hyperparameters)


def trained(backbone: nn.Module, objective: Objective, steps: int) -> Classifier:
    """Train a few steps on the digits; after ten it is far from its initialisation and far from certain."""
    model = Classifier(backbone, objective, MEAN, STD, torch.float32)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    images, labels = torch.from_numpy(TRAIN.images).permute(0, 3, 1, 2), torch.from_numpy(TRAIN.labels)
    for _ in range(steps):
        optimizer.zero_grad()
        objective.loss(model.features(images), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval().finalize(model.features(images), TRAIN.labels)
    return model


@cache
def classifier(loss: str, steps: int) -> Classifier:
    """Return a ResNet-18 of width 4 with a loss of conf/loss; not to be changed."""
    torch.default_generator.manual_seed(0)
    cfg = composed("dataset=digits", f"loss={loss}", "backbone.width=4")
    backbone = instantiate(cfg.backbone)
    return trained(backbone, instantiate(cfg.loss, num_features=backbone.num_features, num_classes=8), steps)


def normalised(images: NDArray[np.uint8]) -> Tensor:
    """(N, 32, 32, 3) -> (N, 3, 32, 32) float32"""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    return ((x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]).float()


def order_agreement(ours: Array, theirs: Array) -> float:
    """Return the rank correlation."""
    return float(spearmanr(ours, theirs).statistic)


def maps_by_hand(model: Any, x: Tensor) -> list[NDArray[np.float64]]:
    """Return the maps of the stem and the four layers of a ResNet."""
    net, maps = model.backbone, []
    with torch.no_grad():
        maps.append(F.relu(net.bn1(net.conv1(x))))
        for layer in (net.layer1, net.layer2, net.layer3, net.layer4):
            maps.append(layer(maps[-1]))
    return [m.double().numpy() for m in maps]
