"""config.yaml of a run that anybody may have written: plain data or an error that names the file."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from oodbench.runs.config import LARGEST, read_config

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("a1:-$ü'#\n ", max_size=9)
NESTED = PLAIN | st.lists(PLAIN, max_size=3) | st.dictionaries(st.text("ab", max_size=3), PLAIN, max_size=3)


@settings(max_examples=50, deadline=None)
@given(config=st.dictionaries(st.text("abc_", max_size=3), NESTED, max_size=4))
def test_plain_data_are_read_as_they_were_written(tmp_path_factory: Any, config: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "config.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    assert read_config(file) == config


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"recipe: [", "while parsing"),
        (b"\xff", "utf-8"),
        (b"- 1", "it holds list and no configuration"),
        (b"", "it holds NoneType"),
        (b"a: 1\n---\nb: 2", "expected a single document"),
        (LAUGHS.encode(), "it has a YAML alias"),
        (b"a: &a {b: 1}\nc: {<<: *a}", "it has a YAML alias"),
        (b"a: ${oc.env:HOME}", "it has an interpolation"),
        (b"a: {b: [1, 'x${data_root}']}", "it has an interpolation"),
        (b"${oc.env:HOME}: 1", "it has an interpolation"),
        (b'a: "\\x24{oc.env:HOME}"', "it has an interpolation"),
        (b"a: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        (b"a: !!python/name:os.system", "could not determine a constructor"),
        (b"[" * 5000, "nest"),
        (b"- " * 5000, "it is nested more than 50 deep"),
        (b"a: " + b"9" * 5000, "digits"),
        (b"a: " + b"x" * LARGEST, f"more than {LARGEST} characters"),
    ],
)
def test_what_is_no_plain_configuration_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{tmp_path}/config\.yaml cannot be read: [^\n]*{says}[^\n]*$"):
        read_config(tmp_path / "config.yaml")


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="is no regular file"):
        read_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("what", ["nothing", "folder", "loop"])
def test_what_is_no_file_is_named(tmp_path: Path, what: str) -> None:
    file = tmp_path / "config.yaml"
    if what == "folder":
        file.mkdir()
    elif what == "loop":
        os.symlink(file, file)  # noqa: PTH211
    with pytest.raises(ValueError, match=rf"{file} cannot be read"):
        read_config(file)
