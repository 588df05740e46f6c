from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


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
    """A backbone that sets some of its weights from training images before the first step."""

    def prepare(self, images: Tensor) -> None:
        """(N, 3, 32, 32) normalised training images -> None, the same for the same images."""
        ...
