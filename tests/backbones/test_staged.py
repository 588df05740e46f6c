"""A network of stages: its features are its last map's means, in float32."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from oodbench.backbones.staged import Prepared, Staged, StagedNetwork


class Doubling(StagedNetwork):
    """Stages that are known: each doubles what it is given."""

    def stages(self) -> Sequence[Callable[[Tensor], Tensor]]:
        return (lambda x: 2 * x,) * 3


def test_features_are_the_means_of_the_last_map() -> None:
    images = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(Doubling()(images), 8 * images.mean((2, 3)))


def test_maps_in_bf16_are_averaged_in_float32() -> None:
    maps = torch.randn(3, 5, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    pooled = Doubling().pool(maps)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled.double(), maps.double().mean((2, 3)), rtol=1e-6, atol=1e-7)


def test_what_offers_stages_and_pool_is_staged() -> None:
    assert isinstance(Doubling(), Staged)
    assert not isinstance(nn.Linear(1, 1), Staged)
    assert not isinstance(Doubling(), Prepared)


def test_a_network_without_stages_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="stages"):
        StagedNetwork()  # type: ignore[abstract]
