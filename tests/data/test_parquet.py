"""Parquet files: made here in the layouts that users have, and the real ones where OODBENCH_DATA is set."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.config import ROOT
from helpers.image_files import (
    IMAGES,
    LABELS,
    NAMES,
    encoded,
    entries,
    pngs,
    real,
    write_parquet,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from oodbench import data
from oodbench.data.cache import cached
from oodbench.data.parquet import LARGEST_BATCH, _batch_size, _decode

CONF = ROOT / "conf"

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_real_cifar10() -> None:
    root = real("cifar10")
    split = data.cifar10(root, "test")
    assert split.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(split.labels).tolist() == [1000] * 10
    assert split.classes[3] == "cat"
    assert split.digest == hashlib.sha256((root / "cifar10/test.parquet").read_bytes()).hexdigest()
    row = pq.read_table(root / "cifar10/test.parquet")["img"][7]["bytes"].as_py()
    assert np.array_equal(split.images[7], np.asarray(Image.open(io.BytesIO(row)).convert("RGB")))


def test_real_cifar100_has_the_statistics_of_its_configuration() -> None:
    split = data.cifar100(real("cifar100"), "test")
    assert np.bincount(split.labels).tolist() == [100] * 100  # fine labels, not the 20 coarse ones
    config = OmegaConf.load(CONF / "dataset/cifar100.yaml")
    pixels = split.images.reshape(-1, 3) / 255  # of the test set: they agree with the training set's to 0.005
    assert pixels.mean(0) == pytest.approx(config.mean, abs=0.005)
    assert pixels.std(0) == pytest.approx(config.std, abs=0.005)


def test_real_grey_images() -> None:
    mnist = data.from_path(real("mnist") / "mnist/test.parquet")
    assert mnist.images.shape == (10_000, 32, 32, 3)
    assert np.array_equal(mnist.images[..., 0], mnist.images[..., 2])


def test_real_larger_images() -> None:
    tiny = data.parquet("tiny_imagenet/test.parquet", real("tiny_imagenet"))
    assert np.bincount(tiny.labels).tolist() == [50] * 200


def test_parquet_keeps_pixels_labels_and_names(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": LABELS}, metadata={"classes": ",".join(NAMES)})
    for _ in range(2):  # decoded, then from the cache
        split = data.parquet(path)
        assert np.array_equal(split.images, IMAGES)
        assert np.array_equal(split.labels, LABELS)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int64)
        assert split.classes == NAMES
        assert split.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert isinstance(split.images, np.memmap)
    assert not split.images.flags.writeable


def test_parquet_spans_batches_and_row_groups_in_order(tmp_path: Path) -> None:
    images = np.random.default_rng(2).integers(256, size=(1203, 32, 32, 3), dtype=np.uint8)
    path = write_parquet(tmp_path / "a.parquet", pngs(images), {"label": np.arange(1203)}, row_group_size=300)
    split = data.parquet(path)
    assert np.array_equal(split.images, images)
    assert np.array_equal(split.labels, np.arange(1203))


def test_parquet_finds_its_columns(tmp_path: Path) -> None:
    fine = write_parquet(tmp_path / "f", pngs(), {"coarse_label": LABELS // 5, "fine_label": LABELS, "label": -LABELS})
    assert np.array_equal(data.parquet(fine).labels, LABELS)
    without = write_parquet(tmp_path / "w", pngs(), {"note": ["x"] * 20}, image="picture")
    assert set(data.parquet(without).labels) == {data.UNKNOWN}
    partly = write_parquet(tmp_path / "p", pngs(), {"label": pa.array([None, *LABELS[1:]], pa.int64())})
    assert data.parquet(partly).labels.tolist() == [data.UNKNOWN, *LABELS[1:]]
    features = {"img": {"_type": "Image"}, "label": {"names": list(NAMES), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    assert data.parquet(write_parquet(tmp_path / "h", pngs(), {"label": LABELS}, metadata=metadata)).classes == NAMES


def test_parquet_without_an_image_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pixels": [1, 2], "label": [0, 1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: no struct column .*\['pixels', 'label'\]"):
        data.parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize("excluded", [["c", 3], [2, "d"], [2, 3]])
def test_parquet_without_classes(tmp_path: Path, excluded: list[str | int]) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": LABELS}, metadata={"classes": ",".join(NAMES)})
    keep = (LABELS != 2) & (LABELS != 3)
    split = data.from_path(path, excluded)
    assert np.array_equal(split.images, IMAGES[keep])
    assert np.array_equal(split.labels, LABELS[keep])
    assert split.digest != data.parquet(path).digest
    with pytest.raises(ValueError, match=r"a\.parquet: exclude_classes has z, of which there is no image"):
        data.parquet(path, exclude_classes=["z"])


def test_parquet_names_the_row_that_does_not_decode(tmp_path: Path, cache_folder: Path) -> None:
    whole = encoded(IMAGES[0])
    for broken in (whole[:200], b"not an image", None):
        path = write_parquet(tmp_path / "a.parquet", [whole] * 600 + [broken] + [whole] * 3)
        with pytest.raises(ValueError, match=r"a\.parquet, row 600: "):
            data.parquet(path)
        assert entries(cache_folder) == []


def test_parquet_truncated(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"a\.parquet \(\d+ bytes\) is not a whole parquet file: .*magic"):
        data.parquet(path)
    assert entries(cache_folder) == []


def test_parquet_with_a_damaged_page(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), compression="gzip")
    content = bytearray(path.read_bytes())
    content[200:3000] = bytes(2800)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.parquet"):
        data.parquet(path)
    assert entries(cache_folder) == []


@pytest.mark.parametrize("above", [0, 1, 2])
def test_parquet_must_agree_with_a_list_of_digests(tmp_path: Path, above: int) -> None:
    path = write_parquet(tmp_path / "x/y/a.parquet", pngs())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = path.parents[above]
    name = path.relative_to(folder).as_posix()
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  other.parquet\n{digest}  {name}\n")
    assert data.parquet(path).digest == digest
    (folder / "SHA256SUMS").write_text(f"{'0' * 64} *./{name}\n")  # another form that sha256sum reads
    with pytest.raises(ValueError, match=rf"a\.parquet is altered .*{digest}.*SHA256SUMS lists 0{{64}}"):
        data.parquet(path)


def test_parquet_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no parquet file at .*none\.parquet"):
        data.from_path(tmp_path / "none.parquet")


# --- files that others made ------------------------------------------------------------------------------------------

FEATURES = [
    "{not json",
    "[]",
    "null",
    "5",
    "[" * 100_000,
    '{"info": 5}',
    '{"info": {"features": null}}',
    '{"info": {"features": {"label": null}}}',
    '{"info": {"features": {"label": {"names": "abc"}}}}',
    '{"info": {"features": {"label": {"names": [1, 2]}}}}',
    '{"info": {"features": {"label": {"names": ["\\ud800"]}}}}',
]


@pytest.mark.parametrize("features", FEATURES)
def test_class_names_that_cannot_be_read_are_named(tmp_path: Path, features: str) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": LABELS}, metadata={"huggingface": features})
    with pytest.raises(ValueError, match=r"a\.parquet: the class names in its metadata cannot be read .*write"):
        data.parquet(path)


def test_class_names_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": LABELS}, metadata={b"classes": b"a,\xff"})
    with pytest.raises(ValueError, match=r"a\.parquet: the class names"):
        data.parquet(path)


@pytest.mark.parametrize(("label", "kind"), [(2**64 - 1, pa.uint64()), (2**63, pa.uint64()), (-2, pa.int64())])
def test_a_label_that_is_no_class_is_named_with_its_row(tmp_path: Path, label: int, kind: pa.DataType) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": pa.array([0] * 7 + [label] + [0] * 12, kind)})
    with pytest.raises(ValueError, match=rf"a\.parquet, row 7: the label {label} is none: classes count from 0 up"):
        data.parquet(path)


@pytest.mark.parametrize("labels", [pa.array([None] * 20, pa.int64()), pa.array([None] * 20), pa.array(["a"] * 20)])
def test_labels_without_a_number_are_unknown(tmp_path: Path, labels: pa.Array) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": labels})
    assert set(data.parquet(path).labels.tolist()) == {data.UNKNOWN}


def test_the_largest_label_of_int64_is_read(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs(), {"label": pa.array([2**63 - 1] * 20, pa.uint64())})
    assert set(data.parquet(path).labels.tolist()) == {2**63 - 1}


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.list_(pa.uint8()), pa.binary(3)])
def test_bytes_of_another_type_are_no_image_column(tmp_path: Path, kind: pa.DataType) -> None:
    value: Any = {pa.string(): "abc", pa.int64(): 1}.get(kind, b"abc")
    column = pa.array([{"bytes": list(value) if kind == pa.list_(pa.uint8()) else value}], pa.struct({"bytes": kind}))
    pq.write_table(pa.table({"img": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: no struct column with a binary field `bytes`"):
        data.parquet(tmp_path / "a.parquet")


@pytest.mark.parametrize("names", [["img", "img"], ["img", "label", "label"]])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, names: list[str]) -> None:
    column = pa.array([{"bytes": b} for b in pngs()])
    columns = [column if name == "img" else pa.array(LABELS) for name in names]
    pq.write_table(pa.table(columns, names=names), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=rf"a\.parquet: more than one column is called {names[-1]}"):
        data.parquet(tmp_path / "a.parquet")


def test_two_fields_of_one_name_are_refused(tmp_path: Path) -> None:
    column = pa.StructArray.from_arrays([pa.array(pngs())] * 2, names=["bytes", "bytes"])
    pq.write_table(pa.table({"img": column}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet .*duplicate field"):
        data.parquet(tmp_path / "a.parquet")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.parquet: no rows"):
        data.parquet(write_parquet(tmp_path / "a.parquet", []))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"no parquet file" * 10])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.parquet \({len(content)} bytes\) is not a whole parquet file"):
        data.parquet(tmp_path / "a.parquet")


def test_a_folder_or_a_fifo_is_no_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "folder.parquet").mkdir()
    os.mkfifo(tmp_path / "fifo.parquet")
    for name in ("folder.parquet", "fifo.parquet", "/dev/zero"):
        with pytest.raises(ValueError, match=f"{name} is a folder or a special file, not a parquet file"):
            data.parquet(tmp_path / name)


def test_a_terabyte_of_nothing_is_no_parquet_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    os.truncate(tmp_path / "a.parquet", 2**40)
    with pytest.raises(ValueError, match=r"a\.parquet has .* bytes, more than any set"):
        data.parquet(tmp_path / "a.parquet")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").symlink_to("/proc/self/mem")
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read: "):
        data.parquet(tmp_path / "a.parquet")


def test_a_path_that_is_not_utf8_is_refused_in_words(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.parquet"))
    path.write_bytes(write_parquet(tmp_path / "a.parquet", pngs()).read_bytes())
    with pytest.raises(ValueError, match=r"\\xff\.parquet: pyarrow opens only paths in UTF-8; rename") as raised:
        data.parquet(path)
    str(raised.value).encode()


def test_a_list_of_digests_that_is_not_text_is_passed_over(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs())
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe\0 no list\n\n  \n")
    assert len(data.parquet(path).images) == 20


def test_a_file_that_changes_while_it_is_read_is_not_cached(tmp_path: Path, cache_folder: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", pngs())
    source = _decode(path, "0" * 64)  # the digest that the file had before
    with pytest.raises(ValueError, match=r"a\.parquet changed while it was read; start again"):
        cached("0" * 64, lambda: source)
    assert entries(cache_folder) == []


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_is_a_value_error_with_the_file(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = write_parquet(tmp_path / "a.parquet", pngs(IMAGES[:3]), {"label": [0, 1, 2]}, compression="gzip")
    content = bytearray(path.read_bytes())
    for position in rng.integers(len(content), size=3):
        content[position] ^= 1 << rng.integers(8)
    path.write_bytes(content[: rng.integers(len(content))] if seed % 2 else content)
    said = ""
    try:
        images = data.parquet(path).images
    except ValueError as error:
        said = str(error)
    assert "a.parquet" in said if said else images.shape == (3, 32, 32, 3)


@pytest.mark.parametrize("images", [[bytes(30_000_000)] * 4, [encoded(Image.new("RGB", (8, 8)))] * 5000])
def test_a_file_that_grows_beyond_what_images_do_is_refused(tmp_path: Path, images: list[bytes | None]) -> None:
    path = write_parquet(tmp_path / "bomb.parquet", images, compression="zstd")
    with pytest.raises(ValueError, match=r"bomb\.parquet: its [\d,]+ bytes become .* rows, which no encoded images do"):
        data.parquet(path)


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_rows_that_are_decompressed_at_once_fit_into_memory(tmp_path: Path, size: int) -> None:
    """A row that stands once in the file's dictionary may be as large as the dictionary, and stand in many rows."""
    image = np.random.default_rng(0).bytes(size)
    path = write_parquet(tmp_path / "a.parquet", [image] * 7)
    rows = _batch_size(path, pq.ParquetFile(path).metadata)
    assert rows * size <= LARGEST_BATCH
    assert (rows == 500) == (size == 100)
