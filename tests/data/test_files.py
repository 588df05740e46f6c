"""Source files: paths that can be opened and printed, their digests, and what killed processes left."""

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from oodbench.data.files import STALE, check_listed, file_sha256, printable, remove_stale, source_path

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of nothing


def test_a_path_is_below_its_root_unless_it_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert source_path("a/b", "~/data") == tmp_path / "data/a/b"
    assert source_path("~/a", "/data") == tmp_path / "a"
    assert source_path(Path("/a")) == Path("/a")


@pytest.mark.parametrize("path", ["", "a\0b", None, 3, "~nobody_of_this_name/x", "x" * 300])
def test_what_is_no_path_is_named(path: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a path|is empty|cannot be opened"):
        source_path(path)


def test_every_path_can_be_printed() -> None:
    assert printable(Path(os.fsdecode(b"caf\xe9/\xc3\xa9"))) == "caf\\xe9/\u00e9"


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert file_sha256(tmp_path / "a") == EMPTY
    with pytest.raises(ValueError, match=r"/b cannot be read: No such file"):
        file_sha256(tmp_path / "b")
    os.truncate(tmp_path / "a", 2**40)
    with pytest.raises(ValueError, match=f"has {2**40} bytes, more than any set of images"):
        file_sha256(tmp_path / "a")


@pytest.mark.parametrize("line", ["{} set/a", "{} *set/a", "{}  ./set/a"])
def test_a_list_above_the_file_must_agree(tmp_path: Path, line: str) -> None:
    file = tmp_path / "set/a"
    (tmp_path / "SHA256SUMS").write_text(f"{line.format(EMPTY.upper())}\n{EMPTY}  other\n")
    check_listed(file, EMPTY)
    check_listed(tmp_path / "set/unlisted", "1" * 64)
    with pytest.raises(ValueError, match=re.escape(f"{file} is altered or not whole: sha256 {'1' * 64}")):
        check_listed(file, "1" * 64)


def test_what_is_a_day_old_is_removed(tmp_path: Path) -> None:
    for name in ("old.part", "new.part", "old.tar"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "content").touch()
        if name.startswith("old"):
            os.utime(tmp_path / name, (0, time.time() - STALE - 60))
    remove_stale(tmp_path, "*.part")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.part", "old.tar"]
