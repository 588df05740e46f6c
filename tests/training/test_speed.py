"""What makes it fast leaves the numbers as they are; and what is measured is what the words beside it say."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import plain
from benchmarks.contest import contest, number, ratio
from benchmarks.network import Unkept
from benchmarks.sections import Section, Target, written
from equivalence import ours, plainly
from helpers.training import RECIPE, Small, classifier
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.backbones.resnet18 import ResNet18
from oodbench.data.digits import digits
from oodbench.data.split import Split
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.losses.ce import CrossEntropy
from oodbench.model import Classifier, compile_backbone, extract_features
from oodbench.training.loop import fit


@pytest.fixture(scope="module")
def few() -> Split:
    split = digits("train")
    return split._replace(images=split.images[:192], labels=split.labels[:192])


@pytest.mark.parametrize(("precision", "first", "epoch"), [(torch.float32, 1e-4, 5e-3), (torch.bfloat16, 5e-3, 0.05)])
def test_the_loss_begins_as_the_plain_loops_does(
    few: Split, monkeypatch: pytest.MonkeyPatch, precision: torch.dtype, first: float, epoch: float
) -> None:
    """One seed, the same draws: DataLoader's PIL images, NCHW and float32 against everything that is fast.

    Only at its beginning: rounding grows, and after some steps at this learning rate the plain loop does not follow
    itself (results/equivalence.md).
    """
    monkeypatch.setattr("equivalence.WIDTH", 4)
    plain_curve = plainly(few, few, seed=3, same_draws=True).curve
    curve = ours(few, few, seed=3, precision=precision).curve
    assert len(curve) == len(plain_curve) == 8
    assert abs(curve[0] - plain_curve[0]) < first
    assert np.abs(curve - plain_curve)[:2].max() < epoch
    other = plainly(few, few, seed=4, same_draws=True).curve
    assert abs(other[0] - plain_curve[0]) > first


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_backbone_gives_the_same_features_and_gradients(few: Split) -> None:
    results = []
    for mode in (False, True):
        torch.manual_seed(0)
        backbone = Small()
        backbone[3].p = 0.0  # dropout draws in another order
        model = Classifier(backbone, CrossEntropy(6, 10, label_smoothing=0.0), [0.5] * 3, [0.25] * 3, torch.float32)
        compile_backbone(model, mode)
        model.train()
        x, y = torch.from_numpy(few.images[:64]).permute(0, 3, 1, 2), torch.from_numpy(few.labels[:64])
        model.objective.loss(model.features(x), y).backward()
        gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        results.append((gradients, extract_features(model, few.images), list(model.state_dict())))
    (gradients, features, keys), (compiled_gradients, compiled_features, compiled_keys) = results
    torch.testing.assert_close(compiled_gradients, gradients, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(compiled_features, features, rtol=1e-4, atol=1e-5)
    assert keys == compiled_keys  # a checkpoint does not tell


FAULTS = """
import resource, sys, torch
from oodbench.training.device import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
for i in range(41):
    torch.ones(2**22)  # 16 MB, freed at once
    if i == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="only glibc can be told to keep memory")
def test_freed_memory_is_not_asked_for_again() -> None:
    """Pages that the system had to find while a tensor came and went 40 times."""
    threshold = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}  # glibc's own would adapt itself to one tensor alone
    faults = {}
    for how in ("handed back", "kept"):
        command, env = [sys.executable, "-c", FAULTS, how], {**os.environ, **threshold}
        faults[how] = int(subprocess.run(command, env=env, capture_output=True, check=True).stdout)
    assert faults["kept"] < faults["handed back"] / 4


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adagrad])
def test_an_optimizers_pass_is_fused_where_it_can_be_unless_it_was_told(
    few: Split, kind: type[torch.optim.Optimizer]
) -> None:
    weights = []
    for told in (None, False):
        made: list[torch.optim.Optimizer] = []

        def optimizer(groups: Any, told: bool | None = told, made: list[Any] = made) -> torch.optim.Optimizer:
            made.append(kind(groups, lr=0.01, fused=told))
            return made[0]

        model = classifier()
        recipe = replace(RECIPE, epochs=1, optimizer=optimizer)
        fit(model, few.images[:64], few.labels[:64] % 5, recipe, 0, None, Unkept())
        fused = None if kind is torch.optim.Adagrad else True
        assert {group["fused"] for group in made[0].param_groups} == {fused if told is None else False}
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    gaps = (weights[0] - weights[1]).abs()
    assert gaps.quantile(0.9) < 1e-5  # Adam moves by the sign of a gradient, which may be rounding


scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=40).map(np.array)


@given(scores, scores)
@settings(deadline=None, max_examples=300)
def test_the_plain_way_computes_the_same_metrics(id_scores: Any, ood_scores: Any) -> None:
    theirs = plain.ood_metrics(id_scores, ood_scores)
    for name, metric in OOD_METRICS.items():
        assert theirs[name] == pytest.approx(metric(id_scores, ood_scores), abs=1e-12), name


def test_the_plain_way_computes_the_same_features(few: Split) -> None:
    torch.manual_seed(0)
    network = ResNet18(4)
    model = Classifier(network, CrossEntropy(32, 10, label_smoothing=0.0), plain.MEAN, plain.STD, torch.float32)
    ours = extract_features(model, few.images)
    torch.testing.assert_close(plain.features(network, few.images), ours, rtol=1e-4, atol=1e-5)


def counted(log: Any, name: str) -> dict[str, Callable[[], None]]:
    def note() -> None:
        with open(log, "a") as file:  # noqa: PTH123
            file.write(f"{name} ")

    return {"work": note}


def test_ways_take_turns_and_the_warm_up_is_not_counted(tmp_path: Any) -> None:
    log = tmp_path / "log"
    ways = {"a": (counted, log, "a"), "b": (counted, log, "b")}
    spent = contest(ways, [("a", "work"), ("b", "work")], repeats=2, warm=True)
    assert log.read_text().split() == ["a", "b"] * 3
    assert {turn: len(seconds) for turn, seconds in spent.items()} == {("a", "work"): 2, ("b", "work"): 2}


def test_a_ratio_is_of_neighbours_in_time() -> None:
    assert ratio([2.0, 40.0, 6.0], [1.0, 10.0, 2.0]) == (3.0, 2.0, 4.0)  # not the ratio of the medians, 6 / 2
    assert ratio([1.0], [4.0], per=100) == (25.0, 25.0, 25.0)
    assert [number(value) for value in (0.1234, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]


def test_a_target_that_is_missed_is_said_to_be() -> None:
    targets = {"fast": Target(4.0, 4.5), "small": Target(0.5, 1.0, most=True), "large": Target(2.0, 1.0, most=True)}
    page = written("", "a machine", 5, 0, [Section("(x) Part", "Words.", ["", "value"], [["row", "1"]], targets)])
    assert "| fast | at least 4.5 | 4 | no |" in page
    assert "| small | at most 1 | 0.5 | yes |" in page
    assert "| large | at most 1 | 2 | no |" in page
    assert "## (x) Part" in page
