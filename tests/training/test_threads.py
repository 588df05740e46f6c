"""The number of threads of a training: which one is chosen, what choosing leaves alone, and that a run keeps it."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from helpers.cli import LIMITED, finish, folders, numbers_in, started
from helpers.training import IMAGES, classifier
from hypothesis import given
from hypothesis import strategies as st

from oodbench.runs.training_files import usable_cores
from oodbench.training import threads
from oodbench.training.device import THREADS, use_threads
from oodbench.training.threads import GAIN, choose_threads, fastest, ladder


@given(st.integers(1, 1000))
def test_a_ladder_goes_from_all_threads_to_one(most: int) -> None:
    rungs = ladder(most)
    assert (rungs[0], rungs[-1]) == (most, 1)
    assert rungs == sorted(set(rungs), reverse=True)
    assert all(lower >= upper // 2 for upper, lower in pairwise(rungs))


def test_ladders_of_common_machines() -> None:
    assert ladder(2) == [2, 1]
    assert ladder(4) == [4, 3, 2, 1]
    assert ladder(16) == [16, 12, 8, 6, 4, 3, 2, 1]


@given(st.dictionaries(st.integers(1, 64), st.floats(0.001, 1000.0)), st.integers(1, 64))
def test_the_largest_of_the_fastest_is_chosen(took: dict[int, float], most: int) -> None:
    tried: dict[int, float] = {}

    def seconds(count: int) -> float:
        return tried.setdefault(count, took.get(count, 1.0))

    chosen = fastest(seconds, most)
    fast = [count for count in tried if tried[count] <= GAIN * min(tried.values())]
    assert chosen == max(fast)
    if min(tried) > 1:  # those below were left out, since this one is slower
        assert tried[min(tried)] > GAIN * min(tried.values())


@pytest.mark.parametrize(("free", "chosen"), [(64, 64), (32, 32), (4, 4), (1, 1)])
def test_cores_that_may_not_be_used_are_found(free: int, chosen: int) -> None:
    """A container that sees 64 cores and may use fewer: work is shared, and waiting grows with idle threads."""
    assert fastest(lambda count: 1 / min(count, free) * max(1.0, count / free), 64) == chosen


def test_one_other_process_on_four_cores_leaves_three() -> None:
    assert fastest(lambda count: 2 / 4 if count == 4 else 1 / count, 4) == 3


def test_a_tie_keeps_all_threads() -> None:
    assert fastest(lambda count: 1.0 + 0.05 * (count == 2), 2) == 2
    assert fastest(lambda count: 1.0 + 0.2 * (count == 2), 2) == 1


@pytest.fixture(autouse=True)
def _threads_of_other_tests() -> Iterator[None]:
    yield
    use_threads(None)


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREADS", 2)


@pytest.mark.usefixtures("two_cores")
def test_choosing_changes_neither_model_nor_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tried = classifier(), []
    monkeypatch.setattr(threads, "use_threads", tried.append)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7)
    choose_threads(model, IMAGES, batch_size=16, epochs=100)
    assert tried == [2, 1]
    drawn = torch.rand(3)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(3))
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


OPEN = (*LIMITED, "loss=ce", "recipe.epochs=2", "ood=[noise]")  # it says nothing of threads


def threads_of(results: Path) -> tuple[int, int]:
    """The number in the numbers' provenance and the one in config.yaml, of the only run."""
    (folder,) = folders(results)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    return numbers_in(folder)["provenance"]["threads"], config["threads"]


@pytest.fixture
def never_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.experiment.choose_threads", lambda *_, **__: pytest.fail("chosen anew"))


def test_a_run_records_the_number_that_was_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.experiment.choose_threads", lambda *_, **__: 2)
    assert "cpu, 2 threads, fp32" in finish(tmp_path, *OPEN).stdout
    assert threads_of(tmp_path) == (2, 2)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("never_chosen")
@pytest.mark.skipif(usable_cores() == 1, reason="one core is a number that cannot be kept")
@pytest.mark.parametrize("killed_before", [("metrics.json",), ("metrics.json", "model.safetensors", "training.json")])
def test_a_resumed_run_keeps_its_number_of_threads(killed_before: tuple[str, ...], tmp_path: Path) -> None:
    run = finish(tmp_path, *OPEN, "threads=2")
    for name in killed_before:
        (run.folder / name).unlink()
    use_threads(1)
    started(*OPEN, f"results_dir={tmp_path}")
    assert threads_of(tmp_path) == (2, 2)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("never_chosen")
def test_a_number_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    finish(tmp_path, *OPEN, "threads=1")
    assert threads_of(tmp_path) == (1, 1)


@pytest.mark.usefixtures("never_chosen")
def test_a_trained_run_of_no_known_number_takes_all_threads(tmp_path: Path) -> None:
    run = finish(tmp_path, *OPEN, "threads=1")
    (run.folder / "metrics.json").unlink()
    (run.folder / "config.yaml").unlink()
    started(*OPEN, f"results_dir={tmp_path}")
    assert torch.get_num_threads() == THREADS
