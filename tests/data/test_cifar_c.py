"""CIFAR-10-C and CIFAR-100-C in the official layout: 5 severities of 4 images each."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import IMAGES, LABELS, entries, md5, write_files, write_tar
from numpy.typing import NDArray

from oodbench import data
from oodbench.data import cifar_c
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")

FOLDERS = {"cifar10c": "CIFAR-10-C", "cifar100c": "CIFAR-100-C"}


def npy(array: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def files_of(name: str, **changed: bytes) -> dict[str, bytes]:
    arrays = {"fog": npy(IMAGES), "snow": npy(IMAGES[::-1]), "labels": npy(LABELS.astype(np.uint8))} | changed
    return {f"{FOLDERS[name]}/{key}.npy": content for key, content in arrays.items()}


@pytest.fixture(params=FOLDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def publish(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changed: bytes) -> Path:
    archive = cifar_c.ARCHIVES[name]
    path = write_tar(tmp_path / "server" / archive.file, files_of(name, **changed))
    monkeypatch.setitem(cifar_c.ARCHIVES, name, archive._replace(url=path.as_uri(), md5=md5(path.read_bytes())))
    return path


def read(name: str, root: Path, corruption: str = "fog", severity: int = 2) -> Split:
    return getattr(data, name)(root, corruption, severity)  # type: ignore[no-any-return]


def check(name: str, root: Path) -> None:
    for _ in range(2):  # decoded, then from the cache
        for severity in range(1, 6):
            rows = slice(4 * severity - 4, 4 * severity)
            split = read(name, root, "fog", severity)
            assert np.array_equal(split.images, IMAGES[rows])
            assert np.array_equal(split.labels, LABELS[rows])
    assert np.array_equal(read(name, root, "snow", 1).images, IMAGES[:-5:-1])


def test_the_archive_is_downloaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = publish(name, tmp_path, monkeypatch).name
    check(name, tmp_path / "root")
    assert entries(tmp_path / "root" / name) == [file]


@pytest.mark.parametrize("below", ["", "own"])
def test_the_extracted_folder_is_read(name: str, tmp_path: Path, below: str) -> None:
    write_files(tmp_path / (name if below else ""), files_of(name))
    check(name, tmp_path)


def test_archive_and_folder_have_one_digest(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = publish(name, tmp_path, monkeypatch)
    of_folder = read(name, write_files(tmp_path / "folder", files_of(name)))
    assert read(name, archive.parent).digest == of_folder.digest
    assert read(name, archive.parent, severity=3).digest != of_folder.digest


@pytest.mark.parametrize(("corruption", "severity"), [("smoke", 1), ("labels", 1), ("fog", 0), ("fog", 6)])
def test_what_the_set_lacks_is_named(name: str, tmp_path: Path, corruption: str, severity: int) -> None:
    with pytest.raises(ValueError, match=rf"{name} has no (corruption|severity) .*; available: (.*fog.*|1 to 5)"):
        read(name, tmp_path, corruption, severity)
    assert entries(tmp_path) == []


def test_an_altered_archive_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    path = publish(name, tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes() + bytes(512))
    with pytest.raises(ValueError, match="altered or not whole: md5"):
        read(name, path.parent)
    assert entries(cache_folder) == []


def test_an_archive_that_is_cut_off_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = publish(name, tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(ValueError, match="is no whole archive"):
        read(name, path.parent)


def test_a_folder_that_is_not_whole_is_refused(name: str, tmp_path: Path) -> None:
    write_files(tmp_path, files_of(name))
    with pytest.raises(FileNotFoundError, match=r"is not the whole archive's folder: frost\.npy is missing"):
        read(name, tmp_path, "frost")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"fog": npy(IMAGES[:, :16])}, "the images are uint8"),
        ({"fog": npy(IMAGES[:19])}, "the images are uint8"),
        ({"fog": npy(IMAGES.astype(float))}, "the images are float64"),
        ({"labels": npy(LABELS[:10])}, "20 images, but labels of shape"),
        ({"fog": b"no array"}, "is no whole array"),
        ({"fog": npy(np.array([None], object))}, "is no whole array"),
    ],
    ids=["height", "count", "type", "labels", "bytes", "pickle"],
)
def test_other_arrays_are_refused(
    name: str, tmp_path: Path, changed: dict[str, bytes], says: str, cache_folder: Path
) -> None:
    with pytest.raises(ValueError, match=says):
        read(name, write_files(tmp_path / "root", files_of(name, **changed)))
    assert entries(cache_folder) == []
