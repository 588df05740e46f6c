"""The means of an epoch, and the errors that stop a training before spoilt weights are saved."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from helpers.training import CLASSES, FEATURES, RECIPE, RecordingLoss, classifier, classifier_with, train
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from oodbench.losses.ce import CrossEntropy
from oodbench.training.loop import TrainState
from oodbench.training.means import RunningMeans, check_weights

ONE_EPOCH = replace(RECIPE, epochs=1)


def test_the_loss_of_an_epoch_is_the_mean_over_its_images() -> None:
    history = train(classifier_with(RecordingLoss(lambda call: float(call))), ONE_EPOCH)[-1].history
    assert history[0]["loss"] == pytest.approx((16 * 0 + 16 * 1 + 16 * 2 + 2 * 3) / 50)
    assert history[0]["epoch"] == 1


def test_the_accuracy_of_an_epoch_is_a_share_of_its_images() -> None:
    objective = RecordingLoss()
    nn.init.zeros_(objective.head.weight)
    nn.init.constant_(objective.head.bias, 0)
    with torch.no_grad():
        objective.head.bias[2] = 1  # always predicts class 2, which 10 of 50 images are of
    still = replace(ONE_EPOCH, optimizer=partial(torch.optim.SGD, lr=0.0))
    assert train(classifier_with(objective), still)[-1].history[0]["accuracy"] == pytest.approx(0.2)


def test_a_loss_without_prototypes_yet_has_no_accuracy() -> None:
    history = train(classifier("loss=circle loss.variant=pairwise_global"), ONE_EPOCH)[-1].history
    assert math.isnan(history[0]["accuracy"])
    assert math.isfinite(history[0]["loss"])


def test_halo_records_gamma_radius_and_abstention() -> None:
    history = train(classifier("loss=halo"), replace(RECIPE, epochs=2))[-1].history
    assert all({"gamma", "r2", "p_abstain"} <= row.keys() for row in history)
    assert 10 < history[0]["gamma"] < 20  # 20 / (1 + 2 / 5) at first
    assert 0 <= history[0]["p_abstain"] <= 1


steps = st.lists(st.tuples(st.floats(-1e3, 1e3), st.integers(1, 200)), min_size=2, max_size=20)


def add(means: RunningMeans, steps: list[tuple[float, int]], cut: int, earlier: dict[str, Any] | None = None) -> None:
    """Begin an epoch after its first `cut` steps, and add the others."""
    means.begin(0, cut, earlier or {})
    for step, (value, images) in list(enumerate(steps))[cut:]:
        means.add({"loss": torch.tensor(value)}, torch.tensor([step]), images)
        means.count(images)


@given(steps, st.data())
def test_means_continue_from_their_state(steps: list[tuple[float, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(steps) - 1))
    whole, first, second = (RunningMeans([], len(steps), torch.device("cpu"), watch=False) for _ in range(3))
    add(whole, steps, 0)
    add(first, steps[:cut], 0)
    add(second, steps, cut, first.state())
    assert second.row()["loss"] == whole.row()["loss"]  # to the bit
    n = sum(images for _, images in steps)
    expected = sum(value * images for value, images in steps) / n
    assert whole.row()["loss"] == pytest.approx(expected, rel=1e-4, abs=1e-2)
    add(second, steps, 0)
    assert second.row()["loss"] == whole.row()["loss"]  # nothing is left of the epoch before


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_before_a_save(bad: float) -> None:
    objective = RecordingLoss(lambda call: bad if call == 6 else None)  # of 4 steps an epoch: epoch 2, step 3
    saved: list[TrainState] = []
    with pytest.raises(FloatingPointError, match=rf"{bad} at epoch 2, step 3.*step before had loss \d"):
        train(classifier_with(objective), save=lambda state: saved.append(deepcopy(state)))
    assert len(saved) == 1
    assert len(objective.labels) == 7  # on a CPU at once, not at the end of the epoch
    assert all(value.isfinite().all() for value in saved[0].model.values())


def test_a_first_step_that_is_not_finite_has_none_before_it() -> None:
    with pytest.raises(FloatingPointError, match=r"nan at epoch 1, step 1; it is the first step.*epoch: none"):
        train(classifier_with(RecordingLoss(lambda call: math.nan)))


def test_the_first_step_after_a_restart_is_called_so() -> None:
    means = RunningMeans([], 4, torch.device("cpu"), watch=True)
    means.begin(1, 2, {"images": 32, "seconds": 1.0, "sums": {"loss": torch.tensor(1.0)}})
    means.add({"loss": torch.tensor(math.nan)}, torch.tensor([2]), 16)
    with pytest.raises(FloatingPointError, match="epoch 2, step 3; it is the first after a restart; "):
        means.count(16)


def test_the_error_names_the_last_good_epoch_and_a_remedy() -> None:
    objective = RecordingLoss(lambda call: math.nan if call == 4 else 1.5)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1.*loss 1.5.*recipe.clip_grad_norm=1.0"):
        train(classifier_with(objective))


class InfiniteGradient(CrossEntropy):
    """A loss that stays finite while its gradient does not, in the last step of the first epoch."""

    calls = 0

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        zero = (0 * features).sum().sqrt() if self.calls == 4 else 0  # 0, whose derivative is infinite
        return super().loss(features, labels) + zero


def test_all_weights_are_checked_by_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would make the CPU wait for a GPU."""
    reads: list[int] = []
    tolist = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: reads.append(len(tensor)) or tolist(tensor))
    for name in ("item", "__bool__", "__float__", "__int__", "cpu", "numpy"):
        monkeypatch.setattr(Tensor, name, pytest.fail)
    model = classifier("loss=ghm")
    check_weights(model, 0)
    assert reads == [len([*model.parameters(), *model.backbone.buffers()])]


def test_weights_that_an_epochs_last_step_spoilt_are_not_saved() -> None:
    """The loss would show it in the next step only, when the checkpoint is worthless already."""
    saved: list[TrainState] = []
    model = classifier_with(InfiniteGradient(FEATURES, CLASSES, 0.0))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train(model, save=lambda state: saved.append(deepcopy(state)))
    assert saved == []
