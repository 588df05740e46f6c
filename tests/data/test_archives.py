"""CIFAR and SVHN in the official layouts."""

import io
import os
import pickle
import runpy
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torchvision.datasets
from helpers.config import ROOT
from helpers.image_files import IMAGES, LABELS, NAMES, entries, md5, pngs, write_parquet

from oodbench import data
from oodbench.data import cache
from oodbench.data.files import file_sha256
from oodbench.data.split import Split

pytestmark = pytest.mark.usefixtures("cache_folder")


class Cifar:
    """A small set in the official layout, whose digests stand in for the published ones."""

    def __init__(self, name: str, source: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self.source, self.monkeypatch = name, source, monkeypatch
        key = "labels" if name == "cifar10" else "fine_labels"
        rows = IMAGES.transpose(0, 3, 1, 2).reshape(20, -1)  # channel after channel, as published
        train = [part for part, _ in source.train_list]
        self.test = [part for part, _ in source.test_list]
        self.files = {
            part: pickle.dumps({"data": rows[chunk], key: LABELS[chunk].tolist(), "coarse_labels": [0] * len(chunk)})
            for part, chunk in zip(
                train + self.test, [*np.array_split(np.arange(16), len(train)), np.arange(16, 20)], strict=True
            )
        }
        self.files[source.meta["filename"]] = pickle.dumps({source.meta["key"]: list(NAMES)})
        self.vouch()

    def vouch(self) -> None:
        digests = {part: md5(content) for part, content in self.files.items()}
        for parts in ("train_list", "test_list"):
            listed = [[part, digests[part]] for part, _ in getattr(self.source, parts)]
            self.monkeypatch.setattr(self.source, parts, listed)
        meta = self.source.meta | {"md5": digests[self.source.meta["filename"]]}
        self.monkeypatch.setattr(self.source, "meta", meta)

    def archive(self, folder: Path, vouched: bool = True) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.source.filename
        with tarfile.open(path, "w:gz") as tar:
            for part, content in ({"readme.html": b"hello"} | self.files).items():
                member = tarfile.TarInfo(f"{self.source.base_folder}/{part}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        if vouched:
            self.monkeypatch.setattr(self.source, "tgz_md5", md5(path.read_bytes()))
        return path

    def extracted(self, folder: Path) -> Path:
        path = folder / self.source.base_folder
        path.mkdir(parents=True)
        for part, content in self.files.items():
            (path / part).write_bytes(content)
        return path

    def read(self, root: Path, split: str) -> Split:
        reader: Callable[[Path, str], Split] = getattr(data, self.name)
        return reader(root, split)

    def check(self, root: Path) -> None:
        for split, rows in (("train", slice(16)), ("test", slice(16, 20))):
            for _ in range(2):  # decoded, then from the cache
                read = self.read(root, split)
                assert np.array_equal(read.images, IMAGES[rows])
                assert np.array_equal(read.labels, LABELS[rows])
                assert read.classes == NAMES
        assert self.read(root, "train").digest != self.read(root, "test").digest


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Cifar:
    source = getattr(torchvision.datasets, request.param.upper())
    monkeypatch.setattr(source, "url", "file:///nowhere/at/all")
    return Cifar(request.param, source, monkeypatch)


@pytest.mark.parametrize("sub", ["", "own"])
@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_where_torchvision_puts_it(cifar: Cifar, tmp_path: Path, layout: str, sub: str) -> None:
    root = tmp_path / "root"
    getattr(cifar, layout)(root / cifar.name if sub else root)
    before = sorted(root.rglob("*"))
    cifar.check(root)
    assert sorted(root.rglob("*")) == before  # nothing extracted, nothing written


def test_cifar_parquet_comes_first(cifar: Cifar, tmp_path: Path) -> None:
    cifar.archive(tmp_path)
    path = write_parquet(tmp_path / cifar.name / "test.parquet", pngs(IMAGES[:3]), {"label": LABELS[:3]})
    assert cifar.read(tmp_path, "test").digest == file_sha256(path)
    assert len(cifar.read(tmp_path, "train").images) == 16


def test_cifar_archive_truncated(cifar: Cifar, tmp_path: Path, cache_folder: Path) -> None:
    path = cifar.archive(tmp_path)
    expected = md5(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"tar\.gz \(\d+ bytes\) is altered .*{md5(path.read_bytes())}.*{expected}"):
        cifar.read(tmp_path, "train")
    assert entries(cache_folder) == []


@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_altered_member_is_never_unpickled(cifar: Cifar, tmp_path: Path, layout: str) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    expected, part = md5(cifar.files[cifar.test[0]]), cifar.test[0]
    cifar.files[part] = pickle.dumps(Harmful())
    getattr(cifar, layout)(tmp_path)
    with pytest.raises(ValueError, match=rf"{part} is altered: md5 {md5(cifar.files[part])}, expected {expected}"):
        cifar.read(tmp_path, "test")
    assert not (tmp_path / "executed").exists()
    pickle.loads(cifar.files[part])
    assert (tmp_path / "executed").exists()  # it would have been


@pytest.mark.parametrize("layout", ["archive", "extracted"])
def test_cifar_missing_member(cifar: Cifar, tmp_path: Path, layout: str) -> None:
    del cifar.files[cifar.test[0]]
    getattr(cifar, layout)(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=cifar.test[0]):
        cifar.read(tmp_path, "test")


def test_cifar_downloads(cifar: Cifar, tmp_path: Path) -> None:
    cifar.monkeypatch.setattr(cifar.source, "url", cifar.archive(tmp_path / "server").as_uri())
    cifar.check(tmp_path / "root")
    assert entries(tmp_path / "root" / cifar.name) == [cifar.source.filename]
    cifar.monkeypatch.setattr(cifar.source, "url", "file:///nowhere/at/all")
    cifar.check(tmp_path / "root")


def test_cifar_download_altered(cifar: Cifar, tmp_path: Path) -> None:
    path = cifar.archive(tmp_path / "server")
    cifar.monkeypatch.setattr(cifar.source, "url", path.as_uri())
    expected = md5(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(FileNotFoundError, match=rf"arrived has md5 {md5(path.read_bytes())}, expected {expected}"):
        cifar.read(tmp_path / "root", "train")
    assert entries(tmp_path / "root" / cifar.name) == []


def test_cifar_found_nowhere(cifar: Cifar, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(FileNotFoundError) as raised:
        cifar.read(root, "test")
    message = str(raised.value)
    for place in (f"{cifar.name}/test.parquet", cifar.source.filename, f"{cifar.name}/{cifar.source.base_folder}"):
        assert str(root / place) in message
    assert "file:///nowhere/at/all" in message
    assert f"python scripts/prepare_data.py {cifar.name} --split test --data-root {root}" in message
    assert not root.exists()


@pytest.fixture
def svhn_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "server/test_32x32.mat"
    path.parent.mkdir()
    labels = np.where(LABELS == 0, 10, LABELS).astype(np.uint8)[:, None]
    scipy.io.savemat(path, {"X": IMAGES.transpose(1, 2, 3, 0), "y": labels}, do_compression=True)
    listed = {"test": [path.as_uri(), path.name, md5(path.read_bytes())]}
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    return path


@pytest.mark.parametrize("place", ["root", "root/svhn", "download"])
def test_svhn(svhn_file: Path, tmp_path: Path, place: str) -> None:
    if place != "download":
        (tmp_path / place).mkdir(parents=True)
        svhn_file.rename(tmp_path / place / svhn_file.name)
    for _ in range(2):
        split = data.svhn(tmp_path / "root", "test")
        assert np.array_equal(split.images, IMAGES)
        assert np.array_equal(split.labels, LABELS)  # the digit 0 is stored as 10
    assert (tmp_path / "root/svhn" / svhn_file.name).exists() == (place != "root")


def test_svhn_altered(svhn_file: Path, tmp_path: Path) -> None:
    expected = md5(svhn_file.read_bytes())
    svhn_file.write_bytes(svhn_file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{md5(svhn_file.read_bytes())}, expected {expected}"):
        data.svhn(svhn_file.parent, "test")


def test_prepare_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_parquet(tmp_path / "cifar10/test.parquet", pngs(), {"label": LABELS})
    command = ["prepare_data.py", "cifar10", "--split", "test", "--data-root", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    runpy.run_path(str(ROOT / "scripts/prepare_data.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith(f"cifar10 test: 20 images, decoded in {tmp_path / 'cache'}, source ")
    assert entries(tmp_path / "cache") == [f"{file_sha256(path)}-{cache.FORMAT}"]


def test_prepare_data_ends_with_a_sentence(cifar: Cifar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", cifar.name, "--data-root", str(tmp_path / "root")])
    with pytest.raises(SystemExit, match=f"{cifar.name} train: {cifar.name} .train. is not under .*root and could not"):
        runpy.run_path(str(ROOT / "scripts/prepare_data.py"), run_name="__main__")


# --- what else can lie in an archive's place -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_link_in_the_archive_is_no_file(cifar: Cifar, tmp_path: Path, kind: bytes) -> None:
    path = cifar.archive(tmp_path)
    part = cifar.test[0]
    with tarfile.open(path, "w:gz") as tar:
        for name, content in (cifar.files | {"other": cifar.files[part]}).items():
            member = tarfile.TarInfo(f"{cifar.source.base_folder}/{name}")
            if name == part:
                member.type, member.linkname = kind, f"{cifar.source.base_folder}/other"
            member.size = len(content) if member.isfile() else 0
            tar.addfile(member, io.BytesIO(content) if member.isfile() else None)
    cifar.monkeypatch.setattr(cifar.source, "tgz_md5", md5(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"no file {part} in the archive's folder"):
        cifar.read(tmp_path, "test")


@pytest.mark.parametrize("folder", ["/{}", "../{}", "x/{}", "{}/.."])
def test_members_outside_the_archive_s_folder_are_no_files(cifar: Cifar, tmp_path: Path, folder: str) -> None:
    original = cifar.source.base_folder
    cifar.monkeypatch.setattr(cifar.source, "base_folder", folder.format(original))
    path = cifar.archive(tmp_path)
    cifar.monkeypatch.setattr(cifar.source, "base_folder", original)
    with pytest.raises(ValueError, match=r"no file .* in the archive's folder"):
        cifar.read(tmp_path, "test")
    assert entries(tmp_path) == [path.name]  # nothing is extracted


def test_what_is_no_tar_is_refused(cifar: Cifar, tmp_path: Path) -> None:
    path = cifar.archive(tmp_path)
    path.write_bytes(b"no archive" * 100)
    cifar.monkeypatch.setattr(cifar.source, "tgz_md5", md5(path.read_bytes()))
    with pytest.raises(ValueError, match=r"tar\.gz is no whole tar archive"):
        cifar.read(tmp_path, "test")


def test_a_fifo_in_the_place_of_an_archive_is_refused(cifar: Cifar, svhn_file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / cifar.source.filename)
    os.mkfifo(tmp_path / svhn_file.name)
    for read in (cifar.read, data.svhn):
        with pytest.raises(ValueError, match="is neither a file nor a folder; remove it"):
            read(tmp_path, "test")


def test_a_terabyte_in_the_place_of_an_archive_is_refused(cifar: Cifar, svhn_file: Path, tmp_path: Path) -> None:
    for name in (cifar.source.filename, svhn_file.name):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 2**40)
    for read in (cifar.read, data.svhn):
        with pytest.raises(ValueError, match=f"has {2**40} bytes, more than any set of images"):
            read(tmp_path, "test")


def test_a_folder_in_the_place_of_an_archive_is_refused(cifar: Cifar, svhn_file: Path, tmp_path: Path) -> None:
    (tmp_path / cifar.source.filename).mkdir()
    (tmp_path / svhn_file.name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"is not a whole extracted archive: .* is missing; remove the folder"):
        cifar.read(tmp_path, "test")
    with pytest.raises(ValueError, match=r"is a folder where the archive .* is expected; remove it"):
        data.svhn(tmp_path, "test")


@pytest.mark.parametrize("reader", [data.cifar10, data.cifar100, data.svhn])
@pytest.mark.parametrize("split", ["val", "../x", None])
def test_a_split_that_does_not_exist_is_named(tmp_path: Path, reader: Any, split: Any) -> None:
    with pytest.raises(ValueError, match=rf"has no split {split}; available: train, test"):
        reader(tmp_path, split)
