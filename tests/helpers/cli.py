"""The command line, started in this process."""

import contextlib
import io
import json
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.config import ROOT

SMALL = ("dataset=digits", "recipe=smoke", "backbone.width=4", "device=cpu", "precision=fp32")
LIMITED = (*SMALL, "dataset.limit=400", "dataset.limit_test=160")
HALO = (*LIMITED, "loss=halo", "recipe.epochs=2", "seed=3", "ood=[unseen_digits,photo_patches]")
HALO += ("validation.images=40", "threads=1")
RUN = (*LIMITED, "loss=ce", "ood=[noise]", "threads=1")
CE = (*LIMITED, "loss=ce", "recipe.epochs=2", "ood=[unseen_digits,noise]")


class Finished(NamedTuple):
    """A finished run."""

    results: Path
    folder: Path
    stdout: str
    metrics: dict[str, Any]


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *overrides]


def started(*overrides: str) -> str:
    """Return what the command prints; in this process, which has torch already: an error arrives as it was raised."""
    return script("train.py", *overrides)


def script(name: str, *arguments: Any) -> str:
    """Return what a script of this project prints, as `started`."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setenv("OODBENCH_OFFLINE", os.environ.get("OODBENCH_OFFLINE", ""))  # a dry run sets it, for its process
        patch.setattr(sys, "argv", [str(ROOT / name), *map(str, arguments)])
        patch.setattr(sys, "path", [str((ROOT / name).parent), *sys.path])
        runpy.run_path(str(ROOT / name), run_name="__main__")
    return printed.getvalue()


def finish(results: Path, *overrides: str) -> Finished:
    """Return the run that the command finishes in an empty results folder."""
    printed = started(*overrides, f"results_dir={results}")
    (folder,) = folders(results)
    return Finished(results, folder, printed, numbers_in(folder))


def copied(run: Finished, results: Path) -> Finished:
    """Return a copy of a finished run, to do things to."""
    shutil.copytree(run.results, results)
    return run._replace(results=results, folder=results / run.folder.relative_to(run.results))


def numbers_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return content


def folders(results: Path) -> list[Path]:
    return sorted(results.glob("runs/*/*/*/*/seed*"))


def never(*args: Any, **kwargs: Any) -> None:
    pytest.fail("trained again")
