"""The head of a network of other code."""

import numpy as np
import pytest
import torch
from torch import nn

from oodbench.losses import CrossEntropy, ExternalLogits
from oodbench.pretrained import head as head_module
from oodbench.pretrained.head import head_error, head_parts, head_reproduces


def test_heads_of_every_kind_give_the_logits() -> None:
    linear = nn.Linear(5, 3)
    features = np.random.default_rng(0).normal(size=(4, 5)).astype("f4")
    expected = linear(torch.from_numpy(features)).detach().numpy()
    W, b = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    loss = CrossEntropy(5, 3, label_smoothing=0.0)
    loss.head.load_state_dict(linear.state_dict())
    for head in (linear, (W, b), (linear.weight, linear.bias), loss):
        apply, found = head_parts(head)
        np.testing.assert_allclose(apply(features), expected, rtol=1e-5)
        assert found is not None
        assert all(np.array_equal(a, b) for a, b in zip(found, (W, b), strict=True))
    apply, found = head_parts(nn.Sequential(linear, nn.ReLU()))
    np.testing.assert_allclose(apply(features), expected.clip(0), rtol=1e-5)
    assert found is None
    assert head_parts(nn.Linear(5, 3, bias=False))[1][1].tolist() == [0, 0, 0]  # type: ignore[index]


def test_a_loss_without_head_is_none() -> None:
    with pytest.raises(ValueError, match="has no head that could be applied"):
        head_parts(ExternalLogits(5, 3))


@pytest.mark.parametrize("rows", [2, 4096])
def test_the_error_of_a_head_is_of_the_largest_logit(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_module, "ROWS", rows)
    features = np.random.default_rng(0).normal(size=(5, 3))
    given = 2 * features
    given[3, 1] += 0.25
    error = head_error(lambda f: 2 * f, features, given)
    assert error == pytest.approx(0.25 / np.abs(given).max())
    assert not head_reproduces(lambda f: 2 * f, features, given)
    assert head_reproduces(lambda f: 2 * f * (1 + 5e-4), features, 2 * features)


def test_a_head_of_other_logits_does_not_reproduce_them() -> None:
    features = np.ones((5, 3))
    assert head_error(lambda f: f[:, :2], features, features) == np.inf
    assert head_error(lambda f: f, features, 0 * features) == np.inf
    assert head_error(lambda f: 0 * f, features, 0 * features) == 0
    assert not head_reproduces(lambda f: np.where(f > 0, np.nan, f), features, features)
