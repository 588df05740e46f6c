"""Modules that wait: the command line is read without torch, which comes when a run begins."""

import subprocess
import sys

import pytest

from oodbench.cli.late import import_late

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
