"""The way people write it: a DataLoader over PIL images, float32, NCHW, a pass over the images for every score,
scikit-learn.
"""

import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from oodbench.losses.objective import Objective

BATCH = 128
WORKERS = (os.cpu_count() or 0) if torch.cuda.is_available() else 0  # on a CPU they would compete with the network
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
CROP_AND_FLIP = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
Images = NDArray[np.uint8]  # (N, 32, 32, 3)
Labels = NDArray[np.int64]  # (N,)
Array = NDArray[np.floating]


class PilImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR10 does with an image."""

    def __init__(self, images: Images, labels: Labels, steps: Sequence[Any]) -> None:
        tail = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.images, self.labels, self.transform = images, labels, transforms.Compose([*steps, *tail])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def loaded(images: Images, labels: Labels, augment: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (B, 3, 32, 32), (B,): shuffled, cropped and flipped, or as they are."""
    images_of = PilImages(images, labels, CROP_AND_FLIP if augment else [])
    yield from DataLoader(images_of, BATCH, shuffle=augment, num_workers=WORKERS, pin_memory=WORKERS > 0)


def decode(path: Path) -> Images:
    """Every image of a parquet file, one after the other."""
    rows = pq.read_table(path).column(0).to_pylist()
    return np.stack([np.array(Image.open(BytesIO(row["bytes"])).convert("RGB")) for row in rows])


def train_epoch(
    backbone: nn.Module, objective: Objective, optimizer: torch.optim.Optimizer, images: Images, labels: Labels
) -> list[float]:
    """-> the loss of every step"""
    backbone.train()
    device = next(backbone.parameters()).device
    losses = []
    for x, y in loaded(images, labels, augment=True):
        optimizer.zero_grad()
        loss = objective.loss(backbone(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def features(backbone: nn.Module, images: Images) -> Tensor:
    """(N, D), in a pass over the images"""
    backbone.eval()
    device = next(backbone.parameters()).device
    labels = np.zeros(len(images), np.int64)
    return torch.cat([backbone(x.to(device)).cpu() for x, _ in loaded(images, labels, augment=False)])


def ood_metrics(id_scores: Array, ood_scores: Array) -> dict[str, float]:
    """AUROC, FPR@95 of both conventions and both AUPRs, by scikit-learn."""
    scores = np.concatenate([id_scores, ood_scores])
    is_ood = np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(is_ood, scores, drop_intermediate=False)  # what it drops may be the point of 95 %
    fpr_in, tpr_in, _ = roc_curve(1 - is_ood, -scores, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(is_ood, scores)),
        "fpr95_idpos": float(fpr_in[np.argmax(tpr_in >= 0.95)]),
        "fpr95_oodpos": float(fpr[np.argmax(tpr >= 0.95)]),
        "aupr_in": float(average_precision_score(1 - is_ood, -scores)),
        "aupr_out": float(average_precision_score(is_ood, scores)),
    }


def bootstrap(id_scores: Array, ood_scores: Array, resamples: int) -> list[dict[str, float]]:
    """The metrics of so many resamples, sorted anew for each."""
    random = np.random.default_rng(0)

    def draw(scores: Array) -> Array:
        return scores[random.integers(len(scores), size=len(scores))]

    return [ood_metrics(draw(id_scores), draw(ood_scores)) for _ in range(resamples)]
