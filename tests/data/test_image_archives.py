"""Textures, Places365, LSUN and iSUN in the layouts that their authors publish."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torchvision.datasets
from helpers.image_files import IMAGES, encoded, entries, md5, pngs, write_files, write_parquet, write_tar

from oodbench import data
from oodbench.data import image_archives
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")


class Source(NamedTuple):
    """A set as it is published, with few images."""

    name: str
    file: str  # of the archive
    folder: str  # in it, with the images
    names: tuple[str, ...]  # of the images, in the order of their paths
    publish: Callable[[pytest.MonkeyPatch, str, str], None]  # an address and a digest

    def read(self, root: Path) -> Split:
        return getattr(data, self.name)(root)  # type: ignore[no-any-return]

    def files(self) -> dict[str, bytes]:
        images = {f"{self.folder}/{name}": encoded(IMAGES[row]) for row, name in enumerate(self.names)}
        beside = {f"{self.folder}/._x.png": b"left by a system", f"{self.folder}/a/list.txt": b"text", "top.png": b"no"}
        return beside | images


def publish_constant(name: str) -> Callable[[pytest.MonkeyPatch, str, str], None]:
    def publish(patch: pytest.MonkeyPatch, url: str, digest: str) -> None:
        patch.setattr(image_archives, name, getattr(image_archives, name)._replace(url=url, md5=digest))

    return publish


def publish_dtd(patch: pytest.MonkeyPatch, url: str, digest: str) -> None:
    patch.setattr(torchvision.datasets.DTD, "_URL", url)
    patch.setattr(torchvision.datasets.DTD, "_MD5", digest)


def publish_places(patch: pytest.MonkeyPatch, url: str, digest: str) -> None:
    patch.setattr(torchvision.datasets.Places365, "_BASE_URL", url.removesuffix("val_256.tar"))
    listed = torchvision.datasets.Places365._IMAGES_META | {("val", True): ("val_256.tar", digest)}
    patch.setattr(torchvision.datasets.Places365, "_IMAGES_META", listed)


TEXTURES = Source("textures", "dtd-r1.0.1.tar.gz", "dtd/images", ("a/1.png", "a/2.png", "b/1.png"), publish_dtd)
FLAT = ("x_0001.png", "x_0002.png", "x_0003.png")
SOURCES = [
    TEXTURES,
    Source("places365", "val_256.tar", "val_256", FLAT, publish_places),
    Source("lsun_crop", "LSUN.tar.gz", "LSUN/test", FLAT, publish_constant("LSUN_CROP")),
    Source("lsun_resize", "LSUN_resize.tar.gz", "LSUN_resize/LSUN_resize", FLAT, publish_constant("LSUN_RESIZE")),
    Source("isun", "iSUN.tar.gz", "iSUN/iSUN_patches", FLAT, publish_constant("ISUN")),
]


@pytest.fixture(params=SOURCES, ids=lambda source: source.name)
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    published: Source = request.param
    archive = write_tar(tmp_path / "server" / published.file, published.files())
    published.publish(monkeypatch, archive.as_uri(), md5(archive.read_bytes()))
    monkeypatch.setitem(image_archives.WHOLE, published.name, len(published.names))
    return published


def check(split: Split, source: Source) -> None:
    assert np.array_equal(split.images, IMAGES[:3])
    has_classes = source is TEXTURES
    assert split.labels.tolist() == ([0, 0, 1] if has_classes else [-1] * 3)
    assert split.classes == (("a", "b") if has_classes else ())


@pytest.mark.parametrize("below", ["", "own"])
def test_an_archive_is_read_where_it_lies(source: Source, tmp_path: Path, below: str) -> None:
    place = tmp_path / "root" / (source.name if below else "")
    place.mkdir(parents=True)
    (tmp_path / "server" / source.file).rename(place / source.file)
    for _ in range(2):  # decoded, then from the cache
        check(source.read(tmp_path / "root"), source)
    assert entries(place) == [source.file]  # nothing extracted


def test_an_extracted_folder_is_read_where_it_lies(source: Source, tmp_path: Path) -> None:
    write_files(tmp_path / "root", source.files())
    check(source.read(tmp_path / "root"), source)


def test_what_is_missing_is_downloaded(source: Source, tmp_path: Path) -> None:
    check(source.read(tmp_path / "root"), source)
    assert entries(tmp_path / "root") == [source.name]
    assert entries(tmp_path / "root" / source.name) == [source.file]


def test_parquet_comes_first(source: Source, tmp_path: Path) -> None:
    write_parquet(tmp_path / "root" / source.name / "test.parquet", pngs(IMAGES[3:6]))
    assert np.array_equal(source.read(tmp_path / "root").images, IMAGES[3:6])
    assert entries(tmp_path / "root" / source.name) == ["test.parquet"]


@pytest.mark.parametrize("form", ["folder", "parquet"])
def test_a_part_of_a_published_set_is_refused(source: Source, tmp_path: Path, form: str) -> None:
    if form == "folder":
        write_files(tmp_path / "root", dict([*source.files().items()][:-1]))
    else:
        write_parquet(tmp_path / "root" / source.name / "test.parquet", pngs(IMAGES[:2]))
    with pytest.raises(
        ValueError, match=rf"^{source.name} has 2 images here and 3 as published: .*\+ood\.<name>\.path="
    ):
        source.read(tmp_path / "root")


def test_an_altered_archive_is_refused(source: Source, tmp_path: Path, cache_folder: Path) -> None:
    archive = tmp_path / "server" / source.file
    archive.write_bytes(archive.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"altered or not whole: md5 [0-9a-f]{32}, expected [0-9a-f]{32}"):
        source.read(archive.parent)
    assert entries(cache_folder) == []


def test_a_download_that_fails_says_what_goes_where(source: Source, tmp_path: Path) -> None:
    (tmp_path / "server" / source.file).unlink()
    with pytest.raises(FileNotFoundError) as raised:
        source.read(tmp_path / "root")
    for part in (
        f"root/{source.file}",
        f"root/{source.name}/test.parquet",
        "file:///",
        f"prepare_data.py {source.name}",
    ):
        assert part in str(raised.value)
    assert not (tmp_path / "root").exists()


def test_an_archive_with_an_image_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache_folder: Path
) -> None:
    files = TEXTURES.files() | {"dtd/images/b/2.png": b"no image"}
    archive = write_tar(tmp_path / TEXTURES.file, files)
    publish_dtd(monkeypatch, archive.as_uri(), md5(archive.read_bytes()))
    with pytest.raises(ValueError, match=r"dtd/images/b/2\.png: the image does not decode"):
        TEXTURES.read(tmp_path)
    assert entries(cache_folder) == []


def test_an_archive_without_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_tar(tmp_path / TEXTURES.file, {"other/a/1.png": encoded(IMAGES[0])})
    publish_dtd(monkeypatch, archive.as_uri(), md5(archive.read_bytes()))
    with pytest.raises(ValueError, match="no image in the archive's folder dtd/images"):
        TEXTURES.read(tmp_path)


@pytest.mark.parametrize("source", [TEXTURES], indirect=True)
def test_textures_without_a_class(source: Source, tmp_path: Path) -> None:
    whole, part = source.read(tmp_path / "root"), data.textures(tmp_path / "root", ["a"])
    assert np.array_equal(part.images, IMAGES[2:3])
    assert part.digest != whole.digest


@pytest.mark.parametrize("source", [TEXTURES], indirect=True)
def test_textures_where_torchvision_extracts_them(source: Source, tmp_path: Path) -> None:
    write_files(tmp_path / "dtd", source.files())
    check(source.read(tmp_path), source)
