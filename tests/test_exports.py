"""Exports: a package offers the public classes and functions that its modules define."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oodbench.exports import exports

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write a package of modules and return what it exports."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "written_for_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def make(**modules: str) -> dict[str, Any]:
        for name, code in modules.items():
            (package / f"{name}.py").write_text(code)
        return exports("written_for_a_test", [str(package)])

    yield make
    for name in [name for name in sys.modules if name.startswith("written_for_a_test")]:
        del sys.modules[name]


def test_classes_and_functions_of_every_module_are_found(exported: Make) -> None:
    found = exported(a="class A: ...\n", b="def b(): return 2\n")
    assert set(found) == {"A", "b"}
    assert found["b"]() == 2


def test_private_imported_and_plain_names_are_left_out(exported: Make) -> None:
    code = "from pathlib import Path\nfrom os.path import join\nLIMIT = 3\ndef _hidden(): ...\ndef shown(): ...\n"
    assert set(exported(a=code)) == {"shown"}


def test_what_one_module_imports_from_another_is_found_once(exported: Make) -> None:
    assert set(exported(a="def f(): ...\n", b="from written_for_a_test.a import f\ndef g(): ...\n")) == {"f", "g"}


def test_subpackages_are_left_out(exported: Make, tmp_path: Path) -> None:
    (tmp_path / "written_for_a_test/inner").mkdir()
    (tmp_path / "written_for_a_test/inner/__init__.py").write_text("def inside(): ...\n")
    assert set(exported(a="def f(): ...\n")) == {"f"}


def test_one_name_in_two_modules_is_an_error(exported: Make) -> None:
    with pytest.raises(ImportError, match=r"\.a and .*\.b both define f"):
        exported(a="def f(): ...\n", b="def f(): ...\n")
