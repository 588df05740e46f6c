from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Staged(Protocol):
    """A backbone that offers its feature maps: features = pool(stage_L(... stage_1(images)))"""

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return functions from the output of the stage before; the last two, at least, return maps (B, C, H, W)."""
        ...

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) of any stage -> (B, C); for the last stage, the features"""
        ...


@runtime_checkable
class Prepared(Protocol):
    """A backbone that sets some of its weights from training images before the first step, and runs without that."""

    def prepare(self, images: Tensor) -> None:
        """(N, 3, 32, 32) normalised training images -> None, the same for the same images."""
        ...


class StagedNetwork(nn.Module, ABC):
    """A network of stages whose features are its last map, pooled: by default the means over the pixels."""

    num_features: int

    @abstractmethod
    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return functions from the output of the stage before, all of which return maps (B, C, H, W)."""

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C) in float32: a mean of bf16 maps in bf16 would leave three digits

        Maps of one pixel, of images of 8 pixels on a ResNet-18, leave their bf16 numbers as they are.
        """
        return maps.float().mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, 32, 32) normalised images -> (B, num_features): the last map, after its ReLU, pooled"""
        x = images
        for stage in self.stages():
            x = stage(x)
        return self.pool(x)
