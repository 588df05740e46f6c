"""The command line, started in this process."""

import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT

SMALL = ("dataset=digits", "recipe=smoke", "backbone.width=4", "device=cpu", "precision=fp32")
LIMITED = (*SMALL, "dataset.limit=400", "dataset.limit_test=160")
HALO = (*LIMITED, "loss=halo", "recipe.epochs=2", "seed=3", "ood=[unseen_digits,noise]")


def command(*overrides: str) -> list[str]:
    return [sys.executable, str(ROOT / "train.py"), *overrides]


def started(*overrides: str) -> str:
    """What the command prints; in this process, which has torch already, so that an error arrives as it was raised."""
    printed, argv = io.StringIO(), sys.argv
    sys.argv = command(*overrides)[1:]
    try:
        with contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
            patch.setenv("HYDRA_FULL_ERROR", "1")
            runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.argv = argv
    return printed.getvalue()


def folders(results: Path) -> list[Path]:
    return sorted(results.glob("runs/*/*/*/*/seed*"))


def never(*args: Any, **kwargs: Any) -> None:
    pytest.fail("trained again")
