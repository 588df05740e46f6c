"""SIGKILL at any moment, start again, and the run ends with the bits of one that nobody touched."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from helpers.attacks import Arena, assert_same, is_whole, left_behind
from helpers.attempts import Attempts
from helpers.config import configuration, names
from helpers.victim import TINY, lived, score_again, train

from oodbench.runs.folder import open_run

DRAWN = int(os.environ.get("ATTACKS", "60"))
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=halo loss.variant=notes", "loss=circle loss.variant=pairwise_global"]
MORE = ("recipe.warmup_epochs=1", "recipe.clip_grad_norm=1.0", "recipe.optimizer.lr=0.01")
pytestmark = pytest.mark.slow


def test_a_training_survives_a_kill_at_every_operation(arena: Arena, attempt: Attempts) -> None:
    arena.results()
    touched = arena.trained().touched
    assert touched > 80
    for die_at in range(1, touched + 1):
        with attempt("SIGKILL at every file operation of a training", f"operation {die_at}"):
            arena.results()
            assert arena.trained(die_at=die_at).code == -9
            arena.check_ends_as_untouched()


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_survives_kill_after_kill(loss: str, tmp_path: Path, attempt: Attempts) -> None:
    """One half at a random instant, the other at a random operation."""
    results, chance = tmp_path / "results", random.Random(loss)
    config = configuration(*TINY, *MORE, *loss.split(), results_dir=str(results))
    started = time.monotonic()
    touched = lived(tmp_path / "log", train, config, below=str(results)).touched
    seconds = time.monotonic() - started
    (folder,) = results.glob("runs/*/*/*/*/seed0")
    expected = left_behind(folder)
    shutil.rmtree(results)
    kills = 0
    while kills < max(2, DRAWN // len(LOSSES)):
        with attempt("SIGKILL after SIGKILL, every loss", f"{loss}, kill {kills}"):
            guard = {} if kills % 2 else {"die_at": chance.randint(1, touched)}
            after = chance.uniform(0.1, 1.0) * seconds if kills % 2 else 60.0
            end = lived(tmp_path / "log", train, config, below=str(results), seconds=after, **guard)
            kills += 1
            assert end.code in (0, -9, None)
            if (folder / "metrics.json").exists():  # it is finished, whatever killed it afterwards
                assert lived(tmp_path / "log", train, config, below=str(results)).code == 0
                assert_same(left_behind(folder), expected)
                shutil.rmtree(results)
    assert lived(tmp_path / "log", train, config, below=str(results)).code == 0
    assert_same(left_behind(folder), expected)


def test_scoring_again_survives_a_kill_at_every_operation(arena: Arena, attempt: Attempts) -> None:
    """The record is the old or the new one, with all its resamples; repeated, the command ends as one not killed."""
    detector = configuration("detector=[gen,entropy]")["detector"]
    arena.results("own")
    work = (score_again, str(arena.folder), detector, {})
    touched = arena.lived(*work).touched
    assert touched > 20
    new, found = left_behind(arena.folder), set()
    for die_at in range(1, touched + 1):
        with attempt("SIGKILL at every file operation of scoring again", f"operation {die_at}"):
            arena.results("own")
            assert arena.lived(*work, die_at=die_at).code == -9
            assert is_whole(arena.folder)
            found.add("gen" in open_run(arena.folder)[0].read_record()["ood"]["noise"])
            assert arena.lived(*work).code == 0
            assert_same(left_behind(arena.folder), new)
    assert found == {False, True}


def test_an_image_detector_survives_a_kill_at_every_operation(arena: Arena, attempt: Attempts) -> None:
    detector = configuration("image_detector=[odin]")["image_detector"]
    arena.results("own")
    work = (score_again, str(arena.folder), {}, detector)
    touched = arena.lived(*work).touched
    new = left_behind(arena.folder)
    for die_at in range(2, touched + 1, 2):
        with attempt("SIGKILL at every other file operation of an image detector", f"operation {die_at}"):
            arena.results("own")
            assert arena.lived(*work, die_at=die_at).code == -9
            assert is_whole(arena.folder)
            assert arena.lived(*work).code == 0
            assert_same(left_behind(arena.folder), new)


def test_tables_survive_a_kill_at_every_operation(arena: Arena, attempt: Attempts) -> None:
    """Each file is that of one run or that of two, never half of one."""

    def written(results: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in results.iterdir() if path.is_file() and path.name[0] != "."}

    one = arena.results("own")
    assert arena.read().code == 0
    old = written(one)
    two = arena.results("own", "loss")
    touched = arena.read().touched
    new = written(two)
    assert len(new) == 4
    for die_at in range(1, touched + 1):
        with attempt("SIGKILL at every file operation of the tables", f"operation {die_at}"):
            results = arena.results("own", "loss")
            for name, content in old.items():
                (results / name).write_bytes(content)
            assert arena.read(die_at=die_at).code == -9
            for name, content in written(results).items():
                assert content in (old[name], new[name]), name
            assert arena.read().code == 0
            assert written(results) == new
