"""Tiny ImageNet in the official layout."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, entries, md5, pngs, write_files, write_parquet, write_zip

from oodbench import data
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")

MODULE = import_module("oodbench.data.tiny_imagenet")  # the package's own attribute of this name is the reader
TOP = "tiny-imagenet-200"
FILES = {  # wnids.txt is not in the order of the identifiers; words.txt has all of WordNet
    f"{TOP}/wnids.txt": b"n02\nn01\n",
    f"{TOP}/words.txt": b"n00\tentity\nn01\tgoldfish, Carassius auratus\nn02\tbullfrog, Rana catesbeiana\n",
    f"{TOP}/val/val_annotations.txt": b"val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t1\t2\t3\t4\n"
    b"val_2.JPEG\tn02\t0\t0\t9\t9\n",
    f"{TOP}/test/images/test_0.JPEG": b"",
    **{f"{TOP}/val/images/val_{row}.JPEG": encoded(IMAGES[row]) for row in range(3)},
}


def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes] = FILES) -> Path:
    """Put the archive on a server, with its address and digest in the place of the published ones."""
    path = write_zip(tmp_path / f"server/{TOP}.zip", files)
    monkeypatch.setattr(MODULE, "ARCHIVE", MODULE.ARCHIVE._replace(url=path.as_uri(), md5=md5(path.read_bytes())))
    return path


def check(split: Split) -> None:
    assert np.array_equal(split.images, IMAGES[:3])
    assert split.labels.tolist() == [1, 0, 1]
    assert split.classes == ("goldfish", "bullfrog")


@pytest.mark.parametrize("below", ["", "tiny_imagenet"])
def test_the_archive_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str) -> None:
    place = tmp_path / "root" / below
    place.mkdir(parents=True)
    publish(tmp_path, monkeypatch).rename(place / f"{TOP}.zip")
    for _ in range(2):  # decoded, then from the cache
        check(data.tiny_imagenet(tmp_path / "root"))
    assert entries(place) == [f"{TOP}.zip"]


def test_it_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, monkeypatch)
    check(data.tiny_imagenet(tmp_path / "root"))
    assert entries(tmp_path / "root/tiny_imagenet") == [f"{TOP}.zip"]


def test_the_extracted_folder_is_read(tmp_path: Path) -> None:
    check(data.tiny_imagenet(write_files(tmp_path, FILES)))


def test_parquet_comes_first(tmp_path: Path) -> None:
    write_parquet(tmp_path / "tiny_imagenet/test.parquet", pngs(IMAGES[:2]), {"label": [0, 1]})
    assert len(data.tiny_imagenet(tmp_path).images) == 2
    assert len(data.tiny_imagenet(tmp_path, [0]).images) == 1


@pytest.mark.parametrize("excluded", [["bullfrog"], [1]])
def test_a_class_is_left_out(tmp_path: Path, excluded: list[str | int]) -> None:
    assert np.array_equal(data.tiny_imagenet(write_files(tmp_path, FILES), excluded).images, IMAGES[1:2])


def test_an_altered_archive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path) -> None:
    path = publish(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"altered or not whole: md5"):
        data.tiny_imagenet(path.parent)
    assert entries(cache_folder) == []


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, name: str) -> None:
    (write_files(tmp_path, FILES) / TOP / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: the folder is not as the archive"):
        data.tiny_imagenet(tmp_path)


def test_a_label_that_is_no_class_is_refused(tmp_path: Path) -> None:
    write_files(tmp_path, FILES | {f"{TOP}/wnids.txt": b"n01\n"})
    with pytest.raises(ValueError, match=r"val_annotations\.txt has the class n02, which wnids\.txt does not list"):
        data.tiny_imagenet(tmp_path)
