"""The training loop: repeatable and resumable to the bit, with the recipe's learning rate, decay and clipping."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.training import (
    IMAGES,
    LABELS,
    LOSSES,
    RECIPE,
    SGD,
    SOURCE,
    FixedAnswers,
    RecordingLoss,
    Small,
    classifier,
    classifier_with,
    same,
    train,
    without_times,
)

from oodbench.backbones import ResNet18
from oodbench.data.digits import digits
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier, extract_features, predict
from oodbench.training.checkpoint import load_checkpoint, save_checkpoint
from oodbench.training.loop import TrainState, fit
from oodbench.training.recipe import learning_rate_factor
from oodbench.training.step import train_step

BATCH = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    recipe, network = replace(RECIPE, epochs=2), partial(ResNet18, width=4)
    first, second, other = (train(classifier(backbone=network), recipe, seed)[-1] for seed in (5, 5, 6))
    assert same(first.model, second.model)
    assert same(first.optimizer, second.optimizer)
    assert same(without_times(first.history), without_times(second.history))
    assert not same(first.model, other.model)


class Preparing(Small):
    """A backbone that counts its steps and records what it is prepared with"""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[torch.Tensor] = []
        self.steps = 0

    def prepare(self, images: torch.Tensor) -> None:
        assert self.steps == 0
        self.given.append(images)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.steps += 1
        return super().forward(images)


def test_a_backbone_is_prepared_once_with_spaced_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.training.loop.PREPARING", 10)
    model = classifier(backbone=Preparing)
    state = train(model)[0]
    (given,) = model.backbone.given  # type: ignore[union-attr]
    expected = (IMAGES[::5].astype("f4").transpose(0, 3, 1, 2) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(given.numpy(), expected, atol=1e-6)
    resumed = classifier(backbone=Preparing)
    train(resumed, resume=state)
    assert resumed.backbone.given == []


def test_the_same_seed_gives_the_same_weights_on_two_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (train(classifier(), replace(RECIPE, epochs=1))[-1] for _ in range(2))
    finally:
        torch.set_num_threads(before)
    assert same(first.model, second.model)


def test_a_training_does_not_depend_on_earlier_random_numbers() -> None:
    model, twin = classifier(), classifier()
    first = train(model)[-1]
    torch.rand(17)
    np.random.default_rng().random(3)
    assert same(first.model, train(twin)[-1].model)


class PerImage(Small):
    """A backbone whose batch norm is of 1x1 maps"""

    def __init__(self) -> None:
        super().__init__()
        self.append(torch.nn.BatchNorm1d(self.num_features))


def test_a_last_batch_of_one_image_is_refused_at_the_start() -> None:
    model = classifier(backbone=PerImage)
    with pytest.raises(ValueError, match=r"last batch of 50 images in batches of 7 is one image.*recipe\.batch_size"):
        train(model, replace(RECIPE, batch_size=7), save=pytest.fail)
    assert len(train(classifier(), replace(RECIPE, batch_size=7))) == RECIPE.epochs  # of larger maps it can be trained
    assert len(train(model, replace(RECIPE, batch_size=12))) == RECIPE.epochs  # two images, too


class Killed(BaseException):
    """Like SIGKILL: nothing in the loop may catch it."""


@pytest.mark.parametrize("loss", LOSSES)
def test_a_killed_training_resumes_to_the_same_bits(loss: str, tmp_path: Path) -> None:
    straight = train(classifier(loss))[-1]
    path = tmp_path / "checkpoint.pt"

    def save_and_die(state: TrainState) -> None:
        save_checkpoint(path, state, SOURCE)
        if len(state.history) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(classifier(loss), save=save_and_die)
    torch.rand(3)
    model = classifier(loss, seed=99)  # whose own initial weights must not matter
    rest = train(model, resume=load_checkpoint(path, SOURCE)[0])
    assert [len(state.history) for state in rest] == [3, 4]
    assert same(rest[-1].model, straight.model)
    assert same(model.state_dict(), straight.model)
    assert same(rest[-1].optimizer, straight.optimizer)
    assert same(without_times(rest[-1].history), without_times(straight.history))


def test_a_finished_training_is_not_continued() -> None:
    straight = train(classifier())[-1]
    model = classifier(seed=99)
    assert train(model, resume=deepcopy(straight)) == []
    assert same(model.state_dict(), straight.model)


def test_a_training_stopped_at_any_step_resumes_exactly(tmp_path: Path) -> None:
    """For every step of the first two epochs, dropout and the epoch's means included."""
    loss, path = "loss=ghm loss.momentum=0.75", tmp_path / "checkpoint.pt"
    straight = train(classifier(loss))[-1]
    for stop_after in range(1, 9):
        before_restart, steps = classifier(loss), []
        before_restart.backbone.register_forward_hook(lambda *call, steps=steps: steps.append(call))
        (*_, stopped) = train(before_restart, receive_stop=lambda steps=steps, n=stop_after: len(steps) >= n)
        assert (len(stopped.history), stopped.step) == divmod(stop_after, 4)
        save_checkpoint(path, stopped, SOURCE)
        torch.rand(3)
        rest = train(classifier(loss, seed=99), resume=load_checkpoint(path, SOURCE)[0])
        assert same(rest[-1].model, straight.model)
        assert same(rest[-1].optimizer, straight.optimizer)
        assert same(without_times(rest[-1].history), without_times(straight.history))


def test_a_checkpoint_amid_an_epoch_changes_no_number() -> None:
    straight = train(classifier("loss=circle"))[-1]
    saved = train(classifier("loss=circle"), due=lambda: True)
    assert [(len(each.history), each.step) for each in saved[:5]] == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert same(saved[-1].model, straight.model)
    model = classifier("loss=circle", seed=99)
    train(model, resume=saved[5])
    assert same(model.state_dict(), straight.model)


class RecordingSGD(torch.optim.SGD):
    """Records the learning rates that it steps with."""

    def step(self, closure: Any = None) -> None:
        self.rates = [*getattr(self, "rates", []), [group["lr"] for group in self.param_groups]]
        RecordingSGD.last = self
        super().step(closure)


def test_every_step_has_the_recipes_learning_rate() -> None:
    recipe = replace(RECIPE, optimizer=partial(RecordingSGD, lr=0.1, momentum=0.9))
    expected = [0.1 * learning_rate_factor(step, 4, recipe) for step in range(16)]
    saved = train(classifier("loss=halo"), recipe)
    assert RecordingSGD.last.rates == [[pytest.approx(rate)] * 2 for rate in expected]  # two groups: one does not decay
    assert [row["lr"] for row in saved[-1].history] == pytest.approx(expected[3::4])
    train(classifier("loss=halo"), recipe, resume=saved[1])
    assert RecordingSGD.last.rates == [[pytest.approx(rate)] * 2 for rate in expected[8:]]


def test_every_epoch_shows_every_image_once() -> None:
    objective = RecordingLoss()
    train(classifier_with(objective))
    assert [len(batch) for batch in objective.labels] == 4 * [16, 16, 16, 2]  # the short last batch is kept
    epochs = [[y for batch in objective.labels[i : i + 4] for y in batch] for i in range(0, 16, 4)]
    assert all(sorted(epoch) == sorted(LABELS.tolist()) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("bound", [1.0, 0.01, None])
def test_clipping_bounds_the_norm_of_all_gradients(bound: float | None) -> None:
    model = classifier()
    for parameter in model.objective.parameters():
        parameter.data *= 100
    before = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, optimizer, BATCH, torch.from_numpy(LABELS), bound, model.backbone)
    steps = [(p.detach() - before[name]).flatten() for name, p in model.named_parameters()]
    moved = float(torch.cat(steps).norm())
    assert moved > 5 if bound is None else moved == pytest.approx(bound, rel=1e-2)


def test_a_gradient_below_the_bound_is_not_clipped() -> None:
    clipped, free = classifier(), classifier()
    for model, bound in ((clipped, 1e6), (free, None)):
        torch.manual_seed(0)  # dropout's
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        train_step(model, optimizer, BATCH, torch.from_numpy(LABELS), bound, model.backbone)
    assert same(clipped.state_dict(), free.state_dict())


def test_the_digits_are_learnt() -> None:
    train_set, test_set = digits("train"), digits("test")
    torch.manual_seed(0)
    backbone = ResNet18(width=8)
    objective = CrossEntropy(backbone.num_features, 8, label_smoothing=0.0)
    model = Classifier(backbone, objective, [0.304] * 3, [0.3252] * 3, torch.float32)
    recipe = replace(RECIPE, epochs=3, batch_size=64, crop_padding=2, flip=False)
    fit(model, train_set.images, train_set.labels, recipe, 0, None, FixedAnswers())
    outputs = predict(objective, extract_features(model, test_set.images), test_set.labels)
    assert np.mean(outputs.log_probs.argmax(1) == test_set.labels) > 0.8  # chance is 0.125


def test_three_steps_equal_those_of_a_plain_loop() -> None:
    """With dropout, batch norm, momentum and a norm to which every gradient is clipped."""
    model, limit = classifier().train(), 0.01
    twin = deepcopy(model)
    optimizers = [SGD([*each.backbone.parameters(), *each.objective.parameters()]) for each in (model, twin)]
    for step in range(3):
        rows = torch.arange(50)[step::3]
        images, labels = BATCH[rows], torch.from_numpy(LABELS)[rows]
        torch.manual_seed(step)
        values = train_step(model, optimizers[0], images, labels, limit, model.backbone)
        torch.manual_seed(step)
        loss = twin.objective.loss(twin.backbone((images / 255 - 0.5) / 0.25), labels)
        optimizers[1].zero_grad()
        loss.backward()
        gradients = [p.grad for p in twin.parameters() if p.grad is not None]
        norm = torch.cat([g.flatten() for g in gradients]).norm()
        assert norm > limit
        for g in gradients:
            g.mul_(limit / norm)
        optimizers[1].step()
        torch.testing.assert_close(values["loss"], loss.detach(), rtol=1e-4, atol=0)
    before = classifier().state_dict()
    for name, value in twin.state_dict().items():
        moved = (value - before[name]).double().norm()
        assert (model.state_dict()[name] - value).double().norm() <= 1e-3 * moved, name
        assert moved > 0, name
