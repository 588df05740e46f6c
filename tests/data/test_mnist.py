"""MNIST and Fashion-MNIST in the official layout."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from helpers.image_files import entries, md5, pngs, write_parquet
from numpy.typing import NDArray
from PIL import Image

from oodbench import data
from oodbench.data.images import resize_and_crop
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")

GREY = np.random.default_rng(0).integers(256, size=(6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)
NAMES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def idx(array: NDArray[np.uint8]) -> bytes:
    """The format as its authors describe it."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


Publish = Callable[..., None]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def publish(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put the two files of each split on a server, the first four images as training set."""
    source = getattr(torchvision.datasets, NAMES[name])

    def publish(images: bytes = idx(GREY[4:]), labels: bytes = idx(LABELS[4:])) -> None:
        contents = [idx(GREY[:4]), idx(LABELS[:4]), images, labels]
        resources = []
        (tmp_path / "server").mkdir()
        for (file, _), content in zip(source.resources, contents, strict=True):
            (tmp_path / "server" / file).write_bytes(gzip.compress(content, mtime=0))
            resources.append((file, md5(gzip.compress(content, mtime=0))))
        monkeypatch.setattr(source, "mirrors", [(tmp_path / "server").as_uri() + "/"])
        monkeypatch.setattr(source, "resources", resources)

    return publish


def read(name: str, root: Path, split: str = "test") -> Split:
    return getattr(data, name)(root, split)  # type: ignore[no-any-return]


def expected(rows: slice) -> NDArray[np.uint8]:
    return np.stack([resize_and_crop(Image.fromarray(image)) for image in GREY[rows]])


def test_both_splits_are_downloaded(name: str, publish: Publish, tmp_path: Path) -> None:
    publish()
    for split, rows in (("train", slice(4)), ("test", slice(4, 6))):
        for _ in range(2):  # decoded, then from the cache
            found = read(name, tmp_path / "root", split)
            assert np.array_equal(found.images, expected(rows))
            assert found.labels.tolist() == LABELS[rows].tolist()
    assert len(entries(tmp_path / "root" / name)) == 4
    assert found.classes[9] == ("9" if name == "mnist" else "Ankle boot")


def test_where_torchvision_puts_them(name: str, publish: Publish, tmp_path: Path) -> None:
    publish()
    place = tmp_path / "root" / NAMES[name] / "raw"
    place.parent.mkdir(parents=True)
    (tmp_path / "server").rename(place)
    assert np.array_equal(read(name, tmp_path / "root").images, expected(slice(4, 6)))
    assert entries(tmp_path / "root") == [NAMES[name]]


def test_parquet_comes_first(name: str, tmp_path: Path) -> None:
    write_parquet(tmp_path / name / "test.parquet", pngs()[:3])
    assert len(read(name, tmp_path).images) == 3


def test_a_split_that_does_not_exist_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} has no split val; available: train, test"):
        read(name, tmp_path, "val")


BAD = {
    "is not in the IDX format": {"images": idx(GREY[4:])[:-1]},
    "is not in the IDX format ": {"images": b"\0\0\x0d\x01" + bytes(8)},
    "is not in the IDX format  ": {"labels": b""},
    "do not belong together": {"labels": idx(LABELS[3:])},
    "do not belong together ": {"images": idx(GREY[4:, 0])},
}


@pytest.mark.parametrize("says", BAD)
def test_what_is_no_such_file_is_refused(name: str, publish: Publish, tmp_path: Path, says: str) -> None:
    publish(**BAD[says])
    with pytest.raises(ValueError, match=says.strip()):
        read(name, tmp_path / "root")


def test_what_is_no_gzip_is_refused(
    name: str, publish: Publish, tmp_path: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    source = getattr(torchvision.datasets, NAMES[name])
    monkeypatch.setattr(source, "resources", [(file, md5(b"no gzip")) for file, _ in source.resources])
    for file, _ in source.resources:
        (tmp_path / "server" / file).write_bytes(b"no gzip")
    with pytest.raises(ValueError, match="is no whole gzip archive"):
        read(name, tmp_path / "root")
    assert entries(cache_folder) == []


def test_an_altered_file_is_refused(name: str, publish: Publish, tmp_path: Path) -> None:
    publish()
    (tmp_path / "root").mkdir()
    (tmp_path / "server").rename(tmp_path / "root" / name)
    for file in (tmp_path / "root" / name).iterdir():
        file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"altered or not whole: md5"):
        read(name, tmp_path / "root")
