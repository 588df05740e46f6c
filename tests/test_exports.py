"""Exports: a package offers the classes or functions of one kind that its modules define."""

import sys
from collections import Counter
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from typing import Any

import pytest

from oodbench import detectors
from oodbench.exports import exports, function_of, subclass_of

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Write a package of modules and return what it exports: its functions."""
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "written_for_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")

    def make(**modules: str) -> dict[str, Any]:
        for name, code in modules.items():
            (package / f"{name}.py").write_text(code)
        return exports("written_for_a_test", [str(package)], isfunction)

    yield make
    for name in [name for name in sys.modules if name.startswith("written_for_a_test")]:
        del sys.modules[name]


def test_what_is_of_the_kind_is_found_in_every_module(exported: Make) -> None:
    found = exported(a="class A: ...\ndef a(): ...\n", b="def b(): return 2\n")
    assert set(found) == {"a", "b"}
    assert found["b"]() == 2


def test_kinds_are_a_base_class_or_the_first_arguments() -> None:
    assert [subclass_of(dict)(value) for value in (dict, Counter, list, dict.get)] == [True, True, False, False]

    def detector(test: Any, reference: Any, k: int) -> None: ...

    def helper(test: Any) -> None: ...

    kind = function_of("test", "reference")
    assert [kind(value) for value in (detector, helper, Counter)] == [True, False, False]


def test_a_new_file_may_name_its_helpers_as_it_likes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`norm` is a helper in neighbours.py, too"""
    (tmp_path / "mine.py").write_text("def norm(x): ...\ndef mine(test, reference): ...\n")
    monkeypatch.setattr(detectors, "__path__", [*detectors.__path__, str(tmp_path)])
    found = exports(detectors.__name__, detectors.__path__, detectors.KIND)
    monkeypatch.delitem(sys.modules, "oodbench.detectors.mine")
    assert {"mine", "knn"} <= set(found)
    assert "norm" not in found


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
