"""SIGKILL at any moment, start again, and the run ends with the bits of one that nobody touched.

OODBENCH_KILLS is the number of kills for every loss; one half at a random instant, the other when a file is touched.
"""

import json
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import Finished
from helpers.config import ROOT, composed, names
from helpers.victim import rescore_life, train_life
from omegaconf import OmegaConf

from oodbench.runs.folder import open_run

KILLS = int(os.environ.get("OODBENCH_KILLS", "2"))
LOSSES = [f"loss={name}" for name in names("loss")]
LOSSES += ["loss=halo loss.variant=notes", "loss=circle loss.variant=pairwise_global"]
RUN = ["dataset=digits", "recipe=smoke", "recipe.epochs=3", "recipe.batch_size=64", "backbone.width=4", "device=cpu"]
RUN += ["precision=fp32", "dataset.limit=200", "dataset.limit_test=80", "ood=[noise]", "checkpoint_share=1.0"]
RUN += ["recipe.warmup_epochs=1", "recipe.clip_grad_norm=1.0", "threads=1"]
LAST = 16  # touches from before the resamples are written to the end
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["helpers.victim"])
pytestmark = pytest.mark.slow


def lived(
    tmp_path: Path, life: Callable[..., None], results: Path, die_at: int, seconds: float | None, *rest: Any
) -> Any:
    """Return how often a life touched its results, None where it was killed."""
    tally = tmp_path / "tally"
    tally.unlink(missing_ok=True)
    process = FORKS.Process(target=life, args=(str(results), die_at, str(tally), *rest))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), f"ended with {process.exitcode} by itself"
    return int(tally.read_text()) if process.exitcode == 0 else None


def trained(tmp_path: Path, results: Path, loss: str, die_at: int = 0, seconds: float | None = None) -> int | None:
    overrides = [*RUN, *loss.split()]
    return lived(tmp_path, train_life, results, die_at, seconds, str(ROOT / "train.py"), overrides)  # type: ignore[no-any-return]


def left_behind(results: Path) -> dict[str, Any]:
    """Return the weights, outputs and numbers of the run that is there."""
    (folder,) = results.glob("runs/*/*/*/*/seed0")
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.safetensors")}
    numbers = json.loads((folder / "metrics.json").read_text())
    resamples = files.pop(numbers["resamples"]["file"])  # named after all numbers, seconds of the training included
    assert not any(name.startswith("resamples") for name in files)
    rows = [line.split(",")[:4] for line in (folder / "train.csv").read_text().splitlines()]
    parts = {key: numbers[key] for key in ("accuracy", "nll", "ood", "intervals", "weights")}
    return {**files, **parts, "rows": rows, "resampled": len(resamples)}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_that_is_killed_often_ends_like_one_that_was_not(loss: str, tmp_path: Path) -> None:
    started = time.monotonic()
    touched = trained(tmp_path, tmp_path / "straight", loss)
    seconds = time.monotonic() - started
    assert touched
    assert touched > 40
    expected = left_behind(tmp_path / "straight")
    chance, kills, lives = random.Random(loss), 0, 0
    results = tmp_path / "killed"
    while kills < KILLS:
        lives += 1
        if kills % 2:
            killed = trained(tmp_path, results, loss, seconds=chance.uniform(0.2, 1.0) * seconds) is None
        else:
            killed = trained(tmp_path, results, loss, die_at=chance.randint(1, touched)) is None
        kills += killed
        if list(results.glob("runs/*/*/*/*/*/metrics.json")):  # it is finished, whatever killed it afterwards
            trained(tmp_path, results, loss)
            assert left_behind(results) == expected
            results = tmp_path / f"killed{lives}"
    trained(tmp_path, results, loss)
    assert left_behind(results) == expected
    (folder,) = results.glob("runs/*/*/*/*/seed0")
    assert [path.name for path in folder.glob(".*")] == [".lock"]  # no half of a file
    assert not (folder / "lock.json").exists()


def test_a_kill_while_scoring_loses_no_resamples(finished: Finished, tmp_path: Path) -> None:
    """Killed at each of the last touches of a file: the record is the old or the new one, with all its resamples."""
    detector: Any = OmegaConf.to_container(composed("detector=[gen,entropy]").detector)
    place = finished.folder.relative_to(finished.results)

    def rescored(results: Path, die_at: int) -> int | None:
        shutil.copytree(finished.results, results)
        return lived(tmp_path, rescore_life, results, die_at, None, str(results / place), detector)  # type: ignore[no-any-return]

    touched = rescored(tmp_path / "straight", 0)
    assert touched
    seen = set()
    for die_at in range(touched - LAST, touched + 1):
        results = tmp_path / f"killed{die_at}"
        assert rescored(results, die_at) is None
        folder = open_run(results / place)[0]
        record = folder.read_record()
        assert record is not None
        resamples = folder.read_resamples(record)
        names = {f"{s}/{d}/{m}" for s, of in record["ood"].items() for d, values in of.items() for m in values}
        assert names == {name for name in resamples if "/" in name}
        assert all(np.isfinite(values).all() for values in resamples.values())
        seen.add("gen" in record["ood"]["unseen_digits"])
    assert seen == {False, True}
