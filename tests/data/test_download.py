"""An official archive is found in one of its places, downloaded, or named as missing."""

import os
import re
from pathlib import Path

import pytest
from helpers.image_files import entries, md5

from oodbench.data.download import OFFLINE, Archive, check_md5, choose, find_or_download, find_or_download_file

CONTENT = b"the published archive"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive on a server, which is a folder."""
    server = tmp_path / "server"
    server.mkdir()
    (server / "set.tar").write_bytes(CONTENT)
    return Archive("leaves", "test", (server / "set.tar").as_uri(), "set.tar", md5(CONTENT), "set", homes=("", "old"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.mark.parametrize("place", ["set.tar", "old/set.tar", "leaves/set.tar", "set", "old/set", "leaves/set"])
def test_it_is_found_in_every_place(archive: Archive, root: Path, place: str) -> None:
    if place.endswith(".tar"):
        (root / place).parent.mkdir(parents=True)
        (root / place).write_bytes(CONTENT)
    else:
        (root / place).mkdir(parents=True)
    before = sorted(root.rglob("*"))
    assert find_or_download(root, archive) == root / place
    assert sorted(root.rglob("*")) == before


def test_an_archive_comes_before_a_folder(archive: Archive, root: Path) -> None:
    (root / "set").mkdir(parents=True)
    (root / "leaves").mkdir()
    (root / "leaves/set.tar").write_bytes(CONTENT)
    assert find_or_download(root, archive) == root / "leaves/set.tar"


def test_it_is_downloaded_to_a_folder_of_its_name(archive: Archive, root: Path) -> None:
    assert find_or_download(root, archive) == root / "leaves/set.tar"
    assert (root / "leaves/set.tar").read_bytes() == CONTENT
    assert entries(root / "leaves") == ["set.tar"]


def test_another_content_is_not_kept(archive: Archive, root: Path) -> None:
    other = archive._replace(md5=md5(b"another"))
    with pytest.raises(FileNotFoundError, match=f"what arrived has md5 {archive.md5}, expected {other.md5}"):
        find_or_download(root, other)
    assert entries(root / "leaves") == []


def test_a_failure_names_places_and_the_command(archive: Archive, root: Path) -> None:
    lost = archive._replace(url="file:///nowhere/at/all")
    with pytest.raises(FileNotFoundError) as raised:
        find_or_download(root, lost)
    for place in ("leaves/test.parquet", "set.tar", "old/set.tar", "leaves/set.tar", "leaves/set"):
        assert str(root / place) in str(raised.value)
    assert f"prepare_data.py leaves --split test --data-root {root}" in str(raised.value)
    assert not root.exists()


def test_offline_nothing_is_fetched(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(FileNotFoundError, match=f"{OFFLINE} is set"):
        find_or_download(root, archive)
    assert not root.exists()


def test_what_is_neither_file_nor_folder_is_refused(archive: Archive, root: Path) -> None:
    root.mkdir()
    os.mkfifo(root / "set.tar")
    with pytest.raises(ValueError, match="is neither a file nor a folder; remove it"):
        find_or_download(root, archive)


def test_a_folder_is_no_file(archive: Archive, root: Path) -> None:
    (root / "set").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is a folder where the archive set\.tar is expected; remove it"):
        find_or_download_file(root, archive)


def test_an_altered_file_is_named_with_both_digests(tmp_path: Path) -> None:
    file = tmp_path / "set.tar"
    file.write_bytes(CONTENT)
    check_md5(file, md5(CONTENT))
    file.write_bytes(CONTENT[:-1])
    says = (
        f"{file} ({len(CONTENT) - 1} bytes) is altered or not whole: md5 {md5(CONTENT[:-1])}, expected {md5(CONTENT)}"
    )
    with pytest.raises(ValueError, match=re.escape(says)):
        check_md5(file, md5(CONTENT))


def test_a_split_is_chosen_or_named() -> None:
    assert choose({"train": 1, "test": 2}, "leaves", "test") == 2
    with pytest.raises(ValueError, match="leaves has no split val; available: train, test, half"):
        choose({"train": 1, "test": 2}, "leaves", "val", ["half"])
