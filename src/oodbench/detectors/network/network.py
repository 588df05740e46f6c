"""`Network`, the trained classifier as a detector of images sees it."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from oodbench.backbones.staged import Staged
from oodbench.detectors.reference import Array, NotApplicable
from oodbench.model import Classifier, normalise

T = TypeVar("T")
Images = NDArray[np.uint8]  # (N, 32, 32, 3)
Scorer = Callable[[Images], Array]
ImageDetector = Callable[..., Scorer]
BATCH = 128  # images at a time, as in `model.extract_features`


class Network:
    """A classifier in evaluation mode and in float32, since the sign of a bf16 gradient is often noise.

    The head is a copy on the CPU, which has float64; gradients flow through it.
    """

    def __init__(self, model: Classifier) -> None:
        self.model, self.backbone = model.eval(), model.backbone
        self.objective = deepcopy(model.objective).cpu().eval()

    def staged(self) -> Staged:
        """Return the backbone. Raises NotApplicable if it does not offer its feature maps."""
        if not isinstance(self.backbone, Staged):
            raise NotApplicable("needs feature maps; this backbone has no `stages`")
        return self.backbone

    def map_batches(self, images: Images, function: Callable[[Tensor], T]) -> Iterator[T]:
        """Yield function(normalised (B, 3, 32, 32) float32 images) for each batch, without gradients or autocast."""
        device = self.model.mean.device
        for start in tqdm(range(0, len(images), BATCH), unit="batch", leave=False, disable=None):
            batch = torch.from_numpy(np.array(images[start : start + BATCH])).to(device).permute(0, 3, 1, 2)
            with (
                torch.no_grad(),
                torch.autocast(device.type, enabled=False),
                torch.backends.cudnn.flags(enabled=True, allow_tf32=False),
            ):
                result = function(normalise(batch, self.model.mean, self.model.std))
            yield result

    def scorer(self, function: Callable[[Tensor], Any]) -> Scorer:
        """Turn function, normalised (B, 3, 32, 32) -> (B,) on the CPU, into a scorer of uint8 images."""
        return lambda images: np.concatenate([np.asarray(s, np.float64) for s in self.map_batches(images, function)])

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, D), on the CPU"""
        return self.backbone(x).float().cpu()

    def maps(self, x: Tensor, last: int | None = None) -> list[Tensor]:
        """(B, 3, 32, 32) -> maps (B, C, H, W) of all stages, or of the first `last`"""
        stages = self.staged().stages()[:last]
        return list(accumulate(stages, lambda maps, stage: stage(maps), initial=x))[1:]

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C), as the backbone pools its last map"""
        return self.staged().pool(maps)

    def log_probs(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K) float64, log of the predictive probabilities"""
        return self.objective.log_probs(self.objective.logits(features.cpu()).double())

    def class_logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K), logits of the classes, without further columns of a loss"""
        logits = self.objective.logits(features.cpu())
        return logits[:, : self.objective.log_probs(logits.detach()).shape[1]]

    def perturb(self, x: Tensor, score: Callable[[Tensor], Tensor], eps: float) -> Tensor:
        """x - eps sign(grad_x score(x)) / std, the input perturbation: eps in pixels of [0, 1]

        x (B, 3, 32, 32) normalised; score: (B, 3, 32, 32) -> (B,), of each image alone.
        """
        if eps == 0:
            return x
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(score(x).sum(), x)
        return x.detach() - eps * gradient.sign() / self.model.std[:, None, None]


def to_float64(x: Tensor) -> Tensor:
    """Convert to float64 on the tensor's device; on the CPU where the device has none, as Apple's GPUs."""
    return (x.cpu() if x.device.type == "mps" else x).double()
