"""What an image detector may ask of a trained classifier."""

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
from oodbench.model import Classifier
from oodbench.training.batches import normalise

T = TypeVar("T")
Images = NDArray[np.uint8]  # (N, 32, 32, 3)
Scorer = Callable[[Images], Array]
ImageDetector = Callable[..., Scorer]
BATCH = 128  # images at a time, as in `features_of`


class Network:
    """In evaluation mode and in float32, whatever it was trained in: in bf16 the sign of a gradient is often noise.

    The head is a copy on the CPU, where float64 is; gradients flow through it all the same.
    """

    def __init__(self, model: Classifier) -> None:
        self.model, self.backbone = model.eval(), model.backbone
        self.objective = deepcopy(model.objective).cpu().eval()

    def staged(self) -> Staged:
        """The backbone, with its maps. Raises NotApplicable where it does not show them."""
        if not isinstance(self.backbone, Staged):
            raise NotApplicable("needs feature maps; this backbone has no `stages`")
        return self.backbone

    def each(self, images: Images, function: Callable[[Tensor], T]) -> Iterator[T]:
        """function(normalised (B, 3, 32, 32) float32), of a batch after the other; without gradients or autocast."""
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
        """Of normalised (B, 3, 32, 32) -> (B,), for a batch after the other."""
        return lambda images: np.concatenate([np.asarray(s, np.float64) for s in self.each(images, function)])

    def features(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) -> (B, D), on the CPU"""
        return self.backbone(x).float().cpu()

    def maps(self, x: Tensor, last: int | None = None) -> list[Tensor]:
        """(B, 3, 32, 32) -> the stages' maps (B, C, H, W), up to `last` of them"""
        stages = self.staged().stages()[:last]
        return list(accumulate(stages, lambda maps, stage: stage(maps), initial=x))[1:]

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C)"""
        return self.staged().pool(maps)

    def log_probs(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K) float64, the loss's own reading of its logits"""
        return self.objective.log_probs(self.objective.logits(features.cpu()).double())

    def class_logits(self, features: Tensor) -> Tensor:
        """(B, D) -> (B, K), without what a loss keeps beyond the classes"""
        logits = self.objective.logits(features.cpu())
        return logits[:, : self.objective.log_probs(logits.detach()).shape[1]]

    def stepped(self, x: Tensor, strangeness: Callable[[Tensor], Tensor], eps: float) -> Tensor:
        """x - eps sign(grad_x strangeness) / std: every pixel, in [0, 1] before normalisation, moves by eps.

        strangeness: (B, 3, 32, 32) -> (B,), of each image alone.
        """
        if eps == 0:
            return x
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(strangeness(x).sum(), x)
        return x.detach() - eps * slope.sign() / self.model.std[:, None, None]
