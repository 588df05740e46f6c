"""SIGKILL at any moment, start again, and the run ends with the bits of one that nobody touched.

OODBENCH_KILLS is the number of kills for every loss; one half at a random instant, the other when a file is touched.
"""

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT, names
from helpers.victim import life

KILLS = int(os.environ.get("OODBENCH_KILLS", "2"))
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=halo loss.variant=notes", "loss=circle loss.variant=pairwise_global"]
RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=3", "recipe.batch_size=64", "backbone.width=4", "device=cpu"]
RUN += ["precision=fp32", "dataset.limit=200", "dataset.limit_test=80", "ood=[noise]", "checkpoint_share=1.0"]
RUN += ["recipe.warmup_epochs=1", "recipe.clip_grad_norm=1.0"]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["victim"])


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OODBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def live(tmp_path: Path, results: Path, loss: str, die_at: int = 0, seconds: float | None = None) -> int | None:
    """One life; how often it touched its results, None where it was killed."""
    tally = tmp_path / "tally"
    tally.unlink(missing_ok=True)
    overrides = [*RUN, *loss.split(), "threads=1"]
    process = FORKS.Process(target=life, args=(str(ROOT), str(results), overrides, die_at, str(tally)))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), f"{loss} ended with {process.exitcode} by itself"
    return int(tally.read_text()) if process.exitcode == 0 else None


def left_behind(results: Path) -> dict[str, Any]:
    """The weights, outputs and numbers of the run that is there."""
    (folder,) = results.glob("runs/*/*/*/*/seed0")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
    numbers = json.loads((folder / "metrics.json").read_text())
    rows = [line.split(",")[:3] for line in (folder / "train.csv").read_text().splitlines()]
    return {**files, "accuracy": numbers["accuracy"], "nll": numbers["nll"], "ood": numbers["ood"], "rows": rows}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_that_is_killed_again_and_again_ends_like_one_that_was_not(loss: str, tmp_path: Path) -> None:
    started = time.monotonic()
    touched = live(tmp_path, tmp_path / "straight", loss)
    seconds = time.monotonic() - started
    assert touched
    assert touched > 40
    expected = left_behind(tmp_path / "straight")
    chance, kills, lives = random.Random(loss), 0, 0
    results = tmp_path / "killed"
    while kills < KILLS:
        lives += 1
        if kills % 2:
            killed = live(tmp_path, results, loss, seconds=chance.uniform(0.2, 1.0) * seconds) is None
        else:
            killed = live(tmp_path, results, loss, die_at=chance.randint(1, touched)) is None
        kills += killed
        if list(results.glob("runs/*/*/*/*/*/metrics.json")):  # it is finished, whatever killed it afterwards
            assert left_behind(results) == expected
            results = tmp_path / f"killed{lives}"
    live(tmp_path, results, loss)
    assert left_behind(results) == expected
    (folder,) = results.glob("runs/*/*/*/*/seed0")
    assert [path.name for path in folder.glob(".*")] == [".claim.lock"]  # no half of a file
    assert not (folder / "claim.json").exists()
