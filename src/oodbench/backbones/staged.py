from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Staged(Protocol):
    """A backbone that shows its feature maps: its features are pool(stage_L(... stage_1(images)))."""

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Of the last two, at least, a map (B, C, H, W) comes; each is what the next one takes."""
        ...

    def pool(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) of any stage -> (B, C); of the last one: the features."""
        ...
