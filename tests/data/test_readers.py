"""The rule by which a function is a reader of a set."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from oodbench import data
from oodbench.data.cache import cached
from oodbench.data.readers import is_reader
from oodbench.data.split import Split, balanced_subset


def plain(path: str | Path, root: Path, parts: list[str], share: float | None = None, flip: bool = True) -> Split: ...
def with_classes(root: Path, exclude_classes: Sequence[str | int] = ()) -> Split: ...
def written(path: "str | Path") -> "Split": ...
def without_types(path, n=3) -> Split: ...  # type: ignore[no-untyped-def]
def of_a_split(split: Split) -> Split: ...
def of_a_function(digest: str, decode: Callable[[], Any]) -> Split: ...
def of_a_text(split: "Split") -> Split: ...
def another(path: str) -> str: ...


@pytest.mark.parametrize("function", [plain, with_classes, written, without_types])
def test_a_function_of_plain_values_is_a_reader(function: Any) -> None:
    assert is_reader(function)


@pytest.mark.parametrize("value", [of_a_split, of_a_function, of_a_text, another, Split, "plain", None, data])
def test_anything_else_is_none(value: Any) -> None:
    assert not is_reader(value)


def test_machinery_has_no_address() -> None:
    assert not is_reader(cached)
    assert not is_reader(balanced_subset)
    for name in ("cached", "balanced_subset", "remove_stale"):
        assert not hasattr(data, name)
    assert is_reader(data.svhn)
