"""Any network of other code: its features and logits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from oodbench.pretrained.module import last_linear, run_module

IMAGES = torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(10) % 3


class Net(nn.Module):
    """A body, a linear head, and, if asked for, something after it."""

    def __init__(self, after: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Dropout(0.5))
        self.fc = nn.Linear(5, 3)
        self.after = after or nn.Identity()

    def forward(self, x: Tensor) -> Any:
        return self.after(self.fc(self.body(x)))


def test_features_are_what_enters_the_last_linear_layer() -> None:
    net = Net().train()
    found = run_module(net, DataLoader(TensorDataset(IMAGES, LABELS), batch_size=4), last_linear(net))
    assert net.training
    assert net.body[-1].training
    net.eval()
    with torch.no_grad():
        np.testing.assert_allclose(found["features"], net.body(IMAGES).numpy(), rtol=1e-6)
        np.testing.assert_allclose(found["logits"], net(IMAGES).numpy(), rtol=1e-6)
    assert found["labels"].tolist() == LABELS.tolist()
    assert not net.fc._forward_pre_hooks


def test_images_alone_have_unknown_labels() -> None:
    net = Net()
    for batches in ([IMAGES[:3], IMAGES[3:]], DataLoader(TensorDataset(IMAGES), batch_size=3)):
        assert run_module(net, batches, net.fc)["labels"].tolist() == [-1] * 10


@pytest.mark.parametrize(
    ("after", "head", "complaint"),
    [
        (nn.Softmax(1), "fc", "outputs are not those of its Linear"),
        (nn.Identity(), "body.1", "outputs are not those of its Linear"),
        (nn.Identity(), "body.0", r"was given \[\(10, 3, 4, 4\)\] for 10 images"),
    ],
)
def test_a_head_that_is_none_is_named(after: nn.Module, head: str, complaint: str) -> None:
    net = Net(after)
    with pytest.raises(ValueError, match=complaint):
        run_module(net, [IMAGES], net.get_submodule(head))


def test_a_network_without_linear_layer_is_named() -> None:
    with pytest.raises(ValueError, match=r"no nn\.Linear"):
        last_linear(nn.Conv2d(3, 3, 1))
    with pytest.raises(ValueError, match="no batch"):
        run_module(Net(), [], nn.Linear(2, 2))


def test_a_frozen_module_stays_frozen() -> None:
    net = Net().train()
    net.body[-1].eval()
    run_module(net, [IMAGES], last_linear(net))
    assert (net.training, net.body.training, net.body[-1].training) == (True, True, False)
