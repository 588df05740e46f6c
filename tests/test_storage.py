"""Files are whole or absent, and what was altered is noticed."""

import contextlib
import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from oodbench.storage import (
    UnwritableError,
    arrays_checksum,
    checksum,
    load_arrays,
    make_writable_folder,
    read_json,
    reason_of,
    save_arrays,
    write_atomic,
    write_json,
)

ARRAYS = {
    "features": np.arange(12, dtype="f4").reshape(4, 3)[:, ::-1],  # not contiguous
    "score": np.array([1e-300, 1, 1 + 1e-15, -1]),
    "labels": np.array([0, 1, -1, 0]),
    "counter": np.array(3),
    "none": np.zeros((0, 5), dtype="f2"),
}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_write_replaces_the_whole_file_for_everybody(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for data in ("long text at first", b"short"):
        write_atomic(path, data)
    assert path.read_bytes() == b"short"
    assert path.stat().st_mode & 0o777 == 0o644
    assert left(path.parent) == ["file"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        says = f"^cannot write {path}: File too large; [^\n]*the same command continues$"
        with pytest.raises(UnwritableError, match=says):
            write_atomic(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert left(tmp_path) == ["file"]


def test_a_folder_in_the_way_leaves_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(UnwritableError, match="Is a directory"):
        write_atomic(tmp_path / "file", b"data")
    assert left(tmp_path) == ["file"]


def test_a_device_is_not_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As `--out /dev/stdout` would, where the user is root."""
    monkeypatch.setattr("oodbench.storage.DEVICES", tmp_path)
    with pytest.raises(UnwritableError, match="a file would take the place of a device"):
        write_atomic(tmp_path / "stdout", b"data")
    assert left(tmp_path) == []


def test_ctrl_c_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert left(tmp_path) == ["file"]


def test_whether_a_folder_takes_files_is_found_out(tmp_path: Path) -> None:
    make_writable_folder(tmp_path / "new" / "deep")
    assert left(tmp_path / "new" / "deep") == []
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=f"cannot write {tmp_path}/file"):
        make_writable_folder(tmp_path / "file")


def test_arrays_survive_their_file_to_the_bit(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", ARRAYS, run="a", note="é")
    arrays, metadata = load_arrays(tmp_path / "a.safetensors")
    assert metadata == {"run": "a", "note": "é"}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(arrays[name], array)


def test_the_same_arrays_are_the_same_file(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a", ARRAYS, run="a", digest="b")
    save_arrays(tmp_path / "b", dict(reversed(ARRAYS.items())), run="a", digest="b")
    assert load_arrays(tmp_path / "a")[0].keys() == load_arrays(tmp_path / "b")[0].keys()
    assert arrays_checksum(ARRAYS, {}) == arrays_checksum(dict(reversed(ARRAYS.items())), {})


OTHERS = [
    ARRAYS | {"score": ARRAYS["score"] + 1e-15},
    ARRAYS | {"labels": ARRAYS["labels"].reshape(2, 2)},
    ARRAYS | {"labels": ARRAYS["labels"].view("u8")},
    ARRAYS | {"counter": np.array([3])},
    {name: array for name, array in ARRAYS.items() if name != "none"},
]


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
def test_values_types_shapes_and_names_change_the_checksum(other: dict[str, np.ndarray]) -> None:
    assert arrays_checksum(other, {}) != arrays_checksum(ARRAYS, {})


def test_metadata_change_the_checksum() -> None:
    assert len({arrays_checksum(ARRAYS, about) for about in ({}, {"run": "a"}, {"run": "b"}, {"a": "run"})}) == 4


SHARED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flip(path: Path, content: bytes, data: st.DataObject) -> None:
    whole = bytearray(content)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    path.write_bytes(whole)


@settings(SHARED, max_examples=100)
@given(data=st.data())
def test_one_bit_that_flips_in_a_file_of_numbers_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    """But where it changes nothing that is said: blanks between the values, the digits of 1.00."""
    content = {"a": [0.25, 1e-7, None], "b": {"c": "text", "d": 12}}
    path, whole = tmp_path / "x.json", tmp_path / "whole.json"
    if not whole.exists():
        write_json(whole, content)
    flip(path, whole.read_bytes(), data)
    with contextlib.suppress(ValueError):
        assert read_json(path) == content


@settings(SHARED, max_examples=300)
@given(data=st.data())
def test_one_bit_that_flips_in_arrays_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path, whole = tmp_path / "a.safetensors", tmp_path / "whole.safetensors"
    if not whole.exists():
        save_arrays(whole, ARRAYS, run="a")
    flip(path, whole.read_bytes(), data)
    with contextlib.suppress(ValueError):  # else it was a blank in the header
        arrays, metadata = load_arrays(path)
        assert metadata == {"run": "a"}
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_arrays_are_named(tmp_path: Path, share: float) -> None:
    save_arrays(path := tmp_path / "a.safetensors", ARRAYS)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"a\.safetensors is damaged"):
        load_arrays(path)


def test_arrays_without_a_checksum_are_refused(tmp_path: Path) -> None:
    for metadata in (None, {"oodbench": "[" * 100_000}, {"oodbench": "[]"}, {"oodbench": "{}"}, {"oodbench": "5"}):
        save_file({"a": np.ones(3)}, tmp_path / "a", metadata)
        with pytest.raises(ValueError, match="is damaged"):
            load_arrays(tmp_path / "a")


def test_json_is_what_anything_can_read(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 0.1, "a": [None, True]})
    content = json.loads((tmp_path / "a.json").read_text(), parse_constant=pytest.fail)
    assert {key: content[key] for key in "ab"} == {"b": 0.1, "a": [None, True]}
    assert read_json(tmp_path / "a.json") == {"b": 0.1, "a": [None, True]}
    assert checksum({"a": 1, "b": 2}) == checksum({"b": 2, "a": 1}) != checksum({"a": 1, "b": 3})


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"5", b"null", b"\xff", b"{}", b"[" * 100_000, b'{"a": NaN}'])
def test_json_that_is_none_of_ours_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/a\.json (is damaged|was altered)"):
        read_json(tmp_path / "a.json")


def test_what_is_no_file_in_a_files_place_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "gone", tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            read_json(path)
        with pytest.raises(ValueError, match=f"{path} is damaged"):
            load_arrays(path)


def test_a_reason_is_not_wrapped_twice() -> None:
    path = Path("runs/config.yaml")
    first = reason_of(path, ValueError("it holds\nlist"))
    assert first == "runs/config.yaml cannot be read: it holds list"
    assert reason_of(path, ValueError(first)) == first
