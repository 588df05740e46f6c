"""Batch norm's statistics, estimated once more from training images when the training is over."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from oodbench.data.split import spaced_rows
from oodbench.model import Classifier

BATCH = 500  # images, as many as a training's larger batches


@torch.no_grad()
def estimate_batch_norm(model: Classifier, images: NDArray[np.uint8], count: int) -> None:
    """Replace running means and variances by their averages over `count` of the (N, 32, 32, 3) images, not augmented.

    A short training's running statistics are those of its last batches, when the weights still moved. The images are
    evenly spaced, and each batch is a random part of them, so that it has the classes of the whole set whatever their
    order in it; batches count alike. Networks without batch norm stay as they are.
    """
    layers = [module for module in model.backbone.modules() if isinstance(module, _BatchNorm)]
    if not layers or count == 0:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for the plain average over batches
    rows = np.random.default_rng(0).permutation(spaced_rows(len(images), count))
    model.eval()
    set_training(layers, True)
    for part in np.array_split(rows, max(1, len(rows) // BATCH)):
        batch = torch.from_numpy(images[part]).to(model.mean.device)
        model.features(batch.permute(0, 3, 1, 2))
    set_training(layers, False)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def set_training(layers: Sequence[nn.Module], mode: bool) -> None:
    """Set the layers alone to training or evaluation mode: dropout stays off."""
    for layer in layers:
        layer.train(mode)
