"""Parquet files: made here in the layouts that users have, and the real ones where OODBENCH_DATA is set."""

import hashlib
import io
import json
from pathlib import Path

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
from omegaconf import OmegaConf
from PIL import Image

from oodbench import data

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
