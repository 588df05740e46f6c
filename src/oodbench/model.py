"""The network with its loss, and its outputs on a set. After `Outputs`, no code asks which loss it was."""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from oodbench.losses.objective import Objective
from oodbench.outputs import Outputs
from oodbench.storage import Arrays

HEAD = "objective."  # prefix of the loss's own weights among a model's


class Classifier(nn.Module):
    """A backbone that runs under autocast and an objective that never does.

    Takes uint8 images; mean and std, (3,), are those of the set it learns, in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, objective: Objective, mean: list[float], std: list[float], precision: torch.dtype
    ) -> None:
        super().__init__()
        self.backbone, self.objective, self.precision = backbone, objective, precision
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def features(self, images: Tensor, network: nn.Module | None = None) -> Tensor:
        """(B, 3, 32, 32) uint8 -> (B, D) float32, by the backbone or by `network`, its compiled copy"""
        x = normalise(images, self.mean, self.std)
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            return (self.backbone if network is None else network)(x).float()

    def finalize(self, features: Tensor, labels: NDArray[np.int64]) -> None:
        """Give the objective the training set's (N, D) features and (N,) labels, once, after training."""
        self.objective.finalize(features.to(self.mean.device), torch.from_numpy(np.array(labels)).to(self.mean.device))


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 -> float32, equal to torchvision's ToTensor and Normalize, bit for bit."""
    return images.float().div(255).sub(mean[:, None, None]).div(std[:, None, None])


@torch.inference_mode()
def extract_features(model: Classifier, images: NDArray[np.uint8], batch_size: int | None = None) -> Tensor:
    """(N, 32, 32, 3) uint8 -> (N, D) float32 on the CPU, in evaluation mode: one forward pass over the set.

    batch_size None: 1,000 on CUDA, for few launches; elsewhere 128, which stay in a CPU's caches: 420 images/s against
    280 in batches of 500, on two cores.
    """
    model.eval()
    device = model.mean.device
    batch_size = batch_size or (1000 if device.type == "cuda" else 128)
    batches = []
    for start in tqdm(range(0, len(images), batch_size), unit="batch", leave=False, disable=None):
        batch = torch.from_numpy(np.array(images[start : start + batch_size])).to(device)
        batches.append(model.features(batch.permute(0, 3, 1, 2)))
    return torch.cat(batches).cpu()


@torch.inference_mode()
def predict(objective: Objective, features: Tensor, labels: NDArray[np.int64]) -> Outputs:
    """(N, D), (N,) -> Outputs: logits, predictive probabilities and OOD score, on the CPU, where float64 is.

    Each method of the objective gets a tensor of its own: one that works in place changes no other's numbers.
    """
    objective = deepcopy(objective).cpu().eval()
    logits = objective.logits(features.clone())
    log_probs, ood_score = objective.log_probs(logits.double()).numpy(), objective.ood_score(logits.double()).numpy()
    return Outputs(features.numpy(), logits.numpy(), log_probs, ood_score, np.asarray(labels, dtype=np.int64))


@torch.inference_mode()
def reproduces(objective: Objective, outputs: Outputs) -> bool:
    """Return whether the objective has these outputs, up to rounding: not where they are of other code than today's.

    A hundred images are compared. Of external outputs without a head the logits are taken as they are.
    """
    objective = deepcopy(objective).cpu().eval()
    features, logits = (torch.from_numpy(array[:100].copy()) for array in (outputs.features, outputs.logits))
    found: list[tuple[Tensor, NDArray[np.floating], float, float]] = [
        (objective.log_probs(logits.double()), outputs.log_probs, 0, 1e-6),
        (objective.ood_score(logits.double()), outputs.ood_score, 1e-6, 0),  # 1e-20 is not 0: images must not tie
    ]
    if objective.has_head:
        found.append((objective.logits(features), outputs.logits, 0, 1e-3))
    return all(
        now.shape[1:] == then.shape[1:]
        and np.allclose(now.numpy(), then[:100], rtol, atol=share * np.nanmax(np.abs(then)), equal_nan=True)
        for now, then, rtol, share in found
    )


def head_fn(objective: Objective) -> Callable[[NDArray[np.floating]], NDArray[np.floating]] | None:
    """Return the objective's (N, D) features -> (N, C) logits as a function of arrays; None if its head is unknown."""
    if not objective.has_head:
        return None
    objective = deepcopy(objective).cpu().eval()

    @torch.inference_mode()
    def head(features: NDArray[np.floating]) -> NDArray[np.floating]:
        return objective.logits(torch.from_numpy(np.array(features, dtype=np.float32))).numpy()

    return head


def linear_weights(objective: Objective) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return the objective's `linear` as arrays, W (K, D) and b (K,), or None."""
    linear = objective.linear()
    return None if linear is None else (linear[0].detach().cpu().numpy(), linear[1].detach().cpu().numpy())


def weights_of(module: nn.Module) -> Arrays:
    """Return parameters and buffers as arrays."""
    return {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, weights: Arrays) -> None:
    """Set parameters and buffers. Raises ValueError, with the names, where they are those of another network."""
    try:
        module.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except RuntimeError as error:
        raise ValueError(f"the stored weights are of another network: {error}") from error


def load_head(objective: Objective, weights: Arrays) -> None:
    """Set the objective's own weights from those of a whole model. Raises ValueError as `load_weights`."""
    load_weights(objective, {name.removeprefix(HEAD): w for name, w in weights.items() if name.startswith(HEAD)})
