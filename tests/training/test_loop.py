"""The training loop: repeatable to the bit, resumable to the bit, and it stops before it saves nonsense."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.config import composed, names
from helpers.training import (
    CLASSES,
    FEATURES,
    IMAGES,
    LABELS,
    LOSSES,
    RECIPE,
    SGD,
    Told,
    classifier,
    numbers,
    train,
    watched,
)
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from oodbench.backbones.resnet18 import ResNet18
from oodbench.data.digits import digits
from oodbench.losses.ce import CrossEntropy
from oodbench.losses.halo import Halo
from oodbench.model import Classifier, extract_features, predict
from oodbench.training.checkpoint import FileCheckpointer, load_checkpoint, load_weights, save_checkpoint, save_weights
from oodbench.training.loop import TrainState, fit, parameter_groups, train_step
from oodbench.training.recipe import Recipe, learning_rate_factor


def same(a: Any, b: Any) -> bool:
    """To the bit, for the nested dictionaries of a state."""
    if isinstance(a, Tensor):
        return a.dtype == b.dtype and torch.equal(a.nan_to_num(nan=-1e30), b.nan_to_num(nan=-1e30))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b or (a != a and b != b))


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    recipe, network = replace(RECIPE, epochs=2), partial(ResNet18, width=4)
    first, second, other = (train(classifier(backbone=network), recipe, seed)[-1] for seed in (5, 5, 6))
    assert same(first.model, second.model)
    assert same(first.optimizer, second.optimizer)
    assert same(numbers(first.history), numbers(second.history))
    assert not same(first.model, other.model)


def test_the_same_seed_gives_the_same_weights_on_two_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = (train(classifier(), replace(RECIPE, epochs=1))[-1] for _ in range(2))
    finally:
        torch.set_num_threads(before)
    assert same(first.model, second.model)


def test_a_training_does_not_depend_on_what_was_drawn_before_it() -> None:
    model, twin = classifier(), classifier()
    first = train(model)[-1]
    torch.rand(17)
    np.random.default_rng().random(3)
    assert same(first.model, train(twin)[-1].model)


class Killed(BaseException):
    """As SIGKILL: nothing of the loop may catch it."""


@pytest.mark.parametrize("loss", LOSSES)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(loss: str, tmp_path: Path) -> None:
    straight = train(classifier(loss))[-1]
    path = tmp_path / "checkpoint.pt"

    def save_and_die(progress: TrainState) -> None:
        save_checkpoint(path, progress, "abc")
        if len(progress.history) == 2:
            raise Killed

    with pytest.raises(Killed):
        train(classifier(loss), save=save_and_die)
    torch.rand(3)
    model = classifier(loss, seed=99)  # whose own initial weights must not matter
    rest = train(model, resume=load_checkpoint(path, "abc"))
    assert [len(progress.history) for progress in rest] == [3, 4]
    assert same(rest[-1].model, straight.model)
    assert same(model.state_dict(), straight.model)
    assert same(rest[-1].optimizer, straight.optimizer)
    assert same(numbers(rest[-1].history), numbers(straight.history))


def test_a_finished_training_is_not_gone_on_with(tmp_path: Path) -> None:
    straight = train(classifier())[-1]
    model = classifier(seed=99)
    assert train(model, resume=deepcopy(straight)) == []
    assert same(model.state_dict(), straight.model)


def test_weights_survive_their_file(tmp_path: Path) -> None:
    model = classifier("loss=halo")
    train(model)
    save_weights(tmp_path / "model.safetensors", model)
    other = classifier("loss=halo", seed=1)
    load_weights(tmp_path / "model.safetensors", other)
    assert same(other.state_dict(), model.state_dict())


def test_cosine_equals_the_public_benchmarks_schedule() -> None:
    """OpenOOD sets 1e-6 + (0.1 - 1e-6) (1 + cos(pi step / steps)) / 2 in a LambdaLR before every step."""
    recipe = replace(RECIPE, epochs=10, warmup_epochs=0)
    per_epoch, total = 7, 70
    weight = nn.Parameter(torch.zeros(1))
    ours, openood, closed = (torch.optim.SGD([weight], lr=0.1) for _ in range(3))
    lr_min = 1e-6 / 0.1
    schedulers = (
        LambdaLR(ours, lambda step: learning_rate_factor(step, per_epoch, recipe)),
        LambdaLR(openood, lambda step: lr_min + (1 - lr_min) * 0.5 * (1 + math.cos(step / total * math.pi))),
        CosineAnnealingLR(closed, T_max=total, eta_min=1e-6),
    )
    for _ in range(total):
        rates = [optimizer.param_groups[0]["lr"] for optimizer in (ours, openood, closed)]
        assert rates[0] == pytest.approx(rates[1], rel=1e-12)
        assert rates[0] == pytest.approx(rates[2], rel=1e-6)
        for optimizer, scheduler in zip((ours, openood, closed), schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    assert learning_rate_factor(0, per_epoch, recipe) == 1
    assert 0.1 * learning_rate_factor(total, per_epoch, recipe) == pytest.approx(1e-6)


def test_the_warm_up_is_linear_and_the_schedule_starts_after_it() -> None:
    recipe = replace(RECIPE, epochs=3, warmup_epochs=1, schedule=lambda share: 10 + share)
    factors = [learning_rate_factor(step, 4, recipe) for step in range(12)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    assert factors[4:] == [10 + i / 8 for i in range(8)]


def test_half_an_epoch_of_warm_up_and_nothing_but_warm_up_are_possible() -> None:
    half = replace(RECIPE, epochs=2, warmup_epochs=0.5)
    assert [learning_rate_factor(step, 4, half) for step in range(3)] == [0.5, 1, 1]
    only = replace(RECIPE, epochs=1, warmup_epochs=1)
    assert [learning_rate_factor(step, 2, only) for step in range(2)] == [0.5, 1]


class Recording(torch.optim.SGD):
    """Notes the learning rates that it steps with."""

    def step(self, closure: Any = None) -> None:
        self.rates = [*getattr(self, "rates", []), [group["lr"] for group in self.param_groups]]
        Recording.last = self
        super().step(closure)


def test_every_step_is_taken_with_the_recipes_learning_rate_also_after_a_resume() -> None:
    recipe = replace(RECIPE, optimizer=partial(Recording, lr=0.1, momentum=0.9))
    expected = [0.1 * learning_rate_factor(step, 4, recipe) for step in range(16)]
    saved = train(classifier("loss=halo"), recipe)
    assert Recording.last.rates == [[pytest.approx(rate)] * 2 for rate in expected]  # two groups: one does not decay
    assert [row["lr"] for row in saved[-1].history] == pytest.approx(expected[3::4])
    train(classifier("loss=halo"), recipe, resume=saved[1])
    assert Recording.last.rates == [[pytest.approx(rate)] * 2 for rate in expected[8:]]


class Noting(CrossEntropy):
    """Notes the labels it is shown; says what loss it is told to say, with an honest gradient."""

    def __init__(self, says: Callable[[int], float | None] = lambda call: None) -> None:
        super().__init__(FEATURES, CLASSES, label_smoothing=0.0)
        self.says, self.shown = says, []  # type: ignore[var-annotated]

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        value, said = super().loss(features, labels), self.says(len(self.shown))
        self.shown.append(labels.tolist())
        return value if said is None else value - value.detach() + said


def test_every_epoch_shows_every_image_once_and_keeps_the_last_short_batch() -> None:
    objective = Noting()
    train(watched(objective))
    assert [len(batch) for batch in objective.shown] == 4 * [16, 16, 16, 2]
    epochs = [[y for batch in objective.shown[i : i + 4] for y in batch] for i in range(0, 16, 4)]
    assert all(sorted(epoch) == sorted(LABELS.tolist()) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_an_epochs_loss_is_the_mean_over_its_images() -> None:
    history = train(watched(Noting(lambda call: float(call))), replace(RECIPE, epochs=1))[-1].history
    assert history[0]["loss"] == pytest.approx((16 * 0 + 16 * 1 + 16 * 2 + 2 * 3) / 50)
    assert history[0]["epoch"] == 1


def test_an_epochs_accuracy_is_a_share_of_its_images() -> None:
    objective = Noting()
    nn.init.zeros_(objective.head.weight)
    nn.init.constant_(objective.head.bias, 0)
    with torch.no_grad():
        objective.head.bias[2] = 1  # always answers 2, right for 10 of 50
    still = replace(RECIPE, epochs=1, optimizer=partial(torch.optim.SGD, lr=0.0))
    assert train(watched(objective), still)[-1].history[0]["accuracy"] == pytest.approx(0.2)


def test_a_loss_without_prototypes_yet_has_no_accuracy() -> None:
    history = train(classifier("loss=circle loss.variant=pairwise_global"), replace(RECIPE, epochs=1))[-1].history
    assert math.isnan(history[0]["accuracy"])
    assert math.isfinite(history[0]["loss"])


def test_halo_writes_gamma_radius_and_abstention_of_every_epoch() -> None:
    history = train(classifier("loss=halo"), replace(RECIPE, epochs=2))[-1].history
    assert all({"gamma", "r2", "p_abstain"} <= row.keys() for row in history)
    assert 10 < history[0]["gamma"] < 20  # 20 / (1 + 2 / 5) at first
    assert 0 <= history[0]["p_abstain"] <= 1


def test_halos_gamma_does_not_decay_and_everything_else_does() -> None:
    model = classifier("loss=halo")
    decays, spared = parameter_groups(model)
    assert [id(p) for p in spared["params"]] == [id(model.objective.raw_gamma)]
    assert spared["weight_decay"] == 0
    assert "weight_decay" not in decays  # the recipe's
    ids = [id(p) for p in decays["params"] + spared["params"]]
    assert sorted(ids) == sorted(map(id, model.parameters()))


def test_one_group_is_enough_where_everything_decays_or_gamma_is_fixed() -> None:
    for loss in ("loss=ce", "loss=halo loss.learn_gamma=false"):
        model = classifier(loss)
        (group,) = parameter_groups(model)
        assert sorted(map(id, group["params"])) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_weight_decay_reaches_batch_norm_and_biases_but_not_gamma() -> None:
    model = classifier("loss=halo")
    optimizer = SGD(parameter_groups(model))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        shrunk = 1 - 0.1 * 5e-4 * 1.9 * (name != "objective.raw_gamma")  # nesterov: 1 + momentum in the first step
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk, msg=name)
    assert isinstance(model.objective, Halo)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_before_spoilt_weights_are_saved(bad: float) -> None:
    objective = Noting(lambda call: bad if call == 6 else None)  # of 4 steps an epoch: epoch 2, step 3
    saved: list[TrainState] = []
    with pytest.raises(FloatingPointError, match=rf"{bad} at epoch 2, step 3.*step before had loss \d"):
        train(watched(objective), save=lambda progress: saved.append(deepcopy(progress)))
    assert len(saved) == 1
    assert len(objective.shown) == 7  # on a CPU at once, not at the end of the epoch
    assert all(value.isfinite().all() for value in saved[0].model.values())


def test_the_error_tells_the_last_good_epoch_and_what_to_try() -> None:
    objective = Noting(lambda call: math.nan if call == 4 else 1.5)
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 1.*loss 1.5.*recipe.clip_grad_norm=1.0"):
        train(watched(objective))


class Treacherous(CrossEntropy):
    """A loss that stays finite while its gradient does not, in the last step of the first epoch."""

    calls = 0

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        self.calls += 1
        zero = (0 * features).sum().sqrt() if self.calls == 4 else 0  # 0, whose derivative is infinite
        return super().loss(features, labels) + zero


def test_weights_that_the_last_step_of_an_epoch_has_spoilt_are_not_saved() -> None:
    """The loss would tell in the next step only, when the checkpoint is worthless already."""
    saved: list[TrainState] = []
    with pytest.raises(FloatingPointError, match="epoch 1"):
        train(watched(Treacherous(FEATURES, CLASSES, 0.0)), save=lambda progress: saved.append(deepcopy(progress)))
    assert saved == []


@pytest.mark.parametrize("bound", [1.0, 0.01, None])
def test_clipping_bounds_the_norm_of_all_gradients_together(bound: float | None) -> None:
    model = classifier()
    for parameter in model.objective.parameters():
        parameter.data *= 100
    before = deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, optimizer, torch.from_numpy(IMAGES).permute(0, 3, 1, 2), torch.from_numpy(LABELS), bound)
    steps = [(p.detach() - before[name]).flatten() for name, p in model.named_parameters()]
    moved = float(torch.cat(steps).norm())
    assert moved > 5 if bound is None else moved == pytest.approx(bound, rel=1e-2)


def test_a_gradient_below_the_bound_is_left_alone() -> None:
    clipped, free = classifier(), classifier()
    for model, bound in ((clipped, 1e6), (free, None)):
        torch.manual_seed(0)  # dropout's
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        train_step(model, optimizer, torch.from_numpy(IMAGES).permute(0, 3, 1, 2), torch.from_numpy(LABELS), bound)
    assert same(clipped.state_dict(), free.state_dict())


def same_progress(a: TrainState | None, b: TrainState) -> bool:
    return a is not None and same(vars(a), vars(b))


def test_a_training_that_is_asked_to_stop_finishes_the_step_and_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """For every step of the first two epochs, dropout and the epoch's means included."""
    straight = train(classifier("loss=ghm loss.momentum=0.75"))[-1]
    for stop_after in range(1, 9):
        first_life, steps = classifier("loss=ghm loss.momentum=0.75"), []
        first_life.backbone.register_forward_hook(lambda *call, steps=steps: steps.append(call))
        (*_, stopped) = train(first_life, stop=lambda steps=steps, n=stop_after: len(steps) >= n)
        assert (len(stopped.history), stopped.step) == divmod(stop_after, 4)
        save_checkpoint(tmp_path / "checkpoint.pt", stopped, "abc")
        torch.rand(3)
        model = classifier("loss=ghm loss.momentum=0.75", seed=99)
        rest = train(model, resume=load_checkpoint(tmp_path / "checkpoint.pt", "abc"))
        assert same(rest[-1].model, straight.model)
        assert same(rest[-1].optimizer, straight.optimizer)
        assert same(numbers(rest[-1].history), numbers(straight.history))


def test_a_checkpoint_amid_an_epoch_changes_nothing_and_can_be_gone_on_from() -> None:
    straight = train(classifier("loss=circle"))[-1]
    saved = train(classifier("loss=circle"), due=lambda: True)
    assert [(len(each.history), each.step) for each in saved[:5]] == [(0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    assert same(saved[-1].model, straight.model)
    model = classifier("loss=circle", seed=99)
    train(model, resume=saved[5])
    assert same(model.state_dict(), straight.model)


def test_checkpoints_take_no_more_than_their_share_of_the_time(
    tmp_path: Path, two_epochs: list[TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, written, logged = [0.0], list[int](), list[float]()
    monkeypatch.setattr("oodbench.training.checkpoint.time.monotonic", lambda: clock[0])

    def slow(path: Path, progress: TrainState, what: str) -> None:
        clock[0] += 2.0
        written.append(len(progress.history))

    monkeypatch.setattr("oodbench.training.checkpoint.save_progress", slow)
    keeper = FileCheckpointer(tmp_path / "x.pt", "abc", 0.01, 500, lambda: 0, lambda row: logged.append(row["epoch"]))
    row = two_epochs[0].history[0]
    for epoch in range(1, 501):  # of ten seconds
        clock[0] += 10.0
        keeper.save(replace(two_epochs[0], history=[row | {"epoch": e + 1} for e in range(epoch)]))
    assert written == [*range(1, 500, 20), 500]  # the first, then every 200 s, and the last whatever it costs
    assert logged == list(range(1, 501))
    assert not keeper.due()
    clock[0] += 199.0
    assert not keeper.due()
    clock[0] += 1.0
    assert keeper.due()
    monkeypatch.setattr("oodbench.training.checkpoint.rank", lambda: 1)
    assert not keeper.due()  # another process writes, and this one need not look at its weights


def test_a_signal_saves_whatever_it_costs(tmp_path: Path, two_epochs: list[TrainState]) -> None:
    signal: list[int] = []
    keeper = FileCheckpointer(tmp_path / "x.pt", "abc", 0.0, 500, lambda: sum(signal), lambda row: None)
    assert not keeper.due()  # not a minute has gone by
    keeper.save(two_epochs[0])
    (tmp_path / "x.pt").unlink()
    keeper.save(two_epochs[0])
    assert not (tmp_path / "x.pt").exists()
    signal.append(15)
    assert keeper.stop()
    keeper.save(two_epochs[0])
    assert (tmp_path / "x.pt").exists()


@pytest.fixture(scope="module")
def two_epochs() -> list[TrainState]:
    return train(classifier(), replace(RECIPE, epochs=2))


def test_the_checkpoint_before_the_last_is_kept(tmp_path: Path, two_epochs: list[TrainState]) -> None:
    path = tmp_path / "checkpoint.pt"
    for progress in two_epochs:
        save_checkpoint(path, progress, "abc")
    assert same_progress(load_checkpoint(path, "abc"), two_epochs[1])
    path.unlink()  # as a kill between two renames leaves it
    assert same_progress(load_checkpoint(path, "abc"), two_epochs[0])
    assert sorted(file.name for file in tmp_path.iterdir()) == ["checkpoint.previous.pt"]


def test_a_damaged_checkpoint_does_not_push_out_the_good_one_before_it(
    tmp_path: Path, two_epochs: list[TrainState]
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, two_epochs[0], "abc")
    save_checkpoint(path, two_epochs[1], "abc")
    path.write_bytes(path.read_bytes()[:-1])
    save_checkpoint(path, two_epochs[1], "abc")
    path.unlink()
    assert same_progress(load_checkpoint(path, "abc"), two_epochs[0])


def test_a_checkpoint_of_another_configuration_is_not_used(tmp_path: Path, two_epochs: list[TrainState]) -> None:
    save_checkpoint(tmp_path / "checkpoint.pt", two_epochs[0], "abc")
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is of configuration abc, this run is def"):
        assert load_checkpoint(tmp_path / "checkpoint.pt", "def") is None


def test_no_damage_to_a_checkpoint_goes_unseen(tmp_path: Path, two_epochs: list[TrainState]) -> None:
    """Cut off anywhere, or a bit flipped anywhere: the one before is used, and the file is named."""
    path = tmp_path / "checkpoint.pt"
    for progress in two_epochs:
        save_checkpoint(path, progress, "abc")
    whole, random = path.read_bytes(), np.random.default_rng(0)
    damaged = [whole[: int(share * len(whole))] for share in (0, 0.001, 0.01, 0.5, 0.999)]
    for at in [0, 30, 60, *random.integers(len(whole), size=50)]:
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << int(random.integers(8))]) + whole[at + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.warns(UserWarning, match=r"checkpoint not used: .*checkpoint\.pt is (cut off|not of this)"):
            assert same_progress(load_checkpoint(path, "abc"), two_epochs[0])


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2], torch.zeros(3)], ids=["dict", "list", "tensor"])
def test_a_file_of_another_kind_in_the_checkpoints_place_is_not_used(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.warns(UserWarning, match=r"checkpoint\.pt is not of this version's format"):
        assert load_checkpoint(tmp_path / "checkpoint.pt", "abc") is None


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_named(tmp_path: Path, share: float) -> None:
    path = tmp_path / "model.safetensors"
    save_weights(path, classifier())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        load_weights(path, classifier())


def test_no_checkpoint_is_no_progress(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt", "abc") is None


@pytest.mark.parametrize("name", names("recipe"))
def test_every_recipe_says_everything_that_a_recipe_says_and_nothing_else(name: str) -> None:
    node = composed("loss=ce", f"recipe={name}").recipe
    assert set(node) == {field.name for field in fields(Recipe)}
    recipe = Recipe(**instantiate(node, _convert_="all"))
    (group,) = recipe.optimizer([{"params": [nn.Parameter(torch.zeros(1))]}]).param_groups
    expected = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    assert {key: group[key] for key in expected} == expected
    assert [recipe.schedule(0), recipe.schedule(1)] == pytest.approx([1, 1e-5])
    assert (recipe.batch_size, recipe.crop_padding, recipe.flip) == (128, 4, True)


def test_the_digits_are_learnt() -> None:
    train_set, test_set = digits("train"), digits("test")
    torch.manual_seed(0)
    backbone = ResNet18(width=8)
    objective = CrossEntropy(backbone.num_features, 8, label_smoothing=0.0)
    model = Classifier(backbone, objective, [0.304] * 3, [0.3252] * 3, torch.float32)
    recipe = replace(RECIPE, epochs=3, batch_size=64, crop_padding=2, flip=False)
    fit(model, train_set.images, train_set.labels, recipe, 0, None, Told(lambda progress: None))
    outputs = predict(objective, extract_features(model, test_set.images), test_set.labels)
    assert np.mean(outputs.log_probs.argmax(1) == test_set.labels) > 0.8  # chance is 0.125
