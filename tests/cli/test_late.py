"""Modules that wait: the command line is read without torch, which comes when a run begins."""

import gc
import subprocess
import sys

import pytest

from oodbench.cli.checks import check_buildable
from oodbench.cli.late import import_late, without_collector
from oodbench.cli.plan import plan

IMPORTS_ALL = """
import importlib, pkgutil, sys, oodbench.cli
for module in pkgutil.iter_modules(oodbench.cli.__path__):
    importlib.import_module(f"oodbench.cli.{module.name}")
print({"torch", "scipy"} & sys.modules.keys())
"""


def test_no_module_of_the_command_line_brings_torch_or_scipy() -> None:
    ended = subprocess.run([sys.executable, "-c", IMPORTS_ALL], capture_output=True, text=True, check=True)
    assert ended.stdout == "set()\n"


def test_a_module_is_named_without_the_package() -> None:
    assert import_late("storage") is sys.modules["oodbench.storage"]
    with pytest.raises(ModuleNotFoundError, match=r"oodbench\.nowhere"):
        import_late("nowhere")


def test_the_collector_waits_and_comes_back() -> None:
    with without_collector():
        assert not gc.isenabled()
        with without_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_planning_and_checking_are_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        "oodbench.cli.plan._parse_hydra_options", lambda arguments: seen.append(gc.isenabled()) or 1 / 0
    )
    monkeypatch.setattr("oodbench.cli.checks.is_finished", lambda config: seen.append(gc.isenabled()))
    with pytest.raises(ZeroDivisionError):
        plan([])
    with pytest.raises(KeyError):
        check_buildable([{}])
    assert seen == [False, False]
    assert gc.isenabled()
