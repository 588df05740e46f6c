"""Folders of images, with what else lies in folders."""

import hashlib
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, entries, picture, write_files

from oodbench import data
from oodbench.data.folder import _images
from oodbench.data.images import Encoded, decode

pytestmark = pytest.mark.usefixtures("cache_folder")


def test_folder(tmp_path: Path, cache_folder: Path) -> None:
    root = tmp_path / "images"
    for name in ("b/2.png", "b/10.PNG", "a.png", "c/d/e.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / "b/2.png").write_bytes(encoded(IMAGES[2]))
    (root / "b/10.PNG").write_bytes(encoded(IMAGES[1]))
    (root / "a.png").write_bytes(encoded(IMAGES[0]))
    (root / "c/d/e.png").write_bytes(encoded(IMAGES[3]))
    (root / "notes.txt").write_text("not an image")
    (root / "b/._2.png").write_bytes(b"what some systems leave beside a file")
    split = data.from_path(root)
    assert np.array_equal(split.images, IMAGES[:4])
    assert split.labels.tolist() == [-1] * 4
    assert data.folder(root).digest == split.digest
    (root / "a.png").write_bytes(encoded(IMAGES[5]))
    altered = data.folder(root)
    assert altered.digest != split.digest
    assert np.array_equal(altered.images[0], IMAGES[5])
    (root / "a.png").rename(root / "z.png")
    assert data.folder(root).digest not in (split.digest, altered.digest)
    assert len(entries(cache_folder)) == 3


@pytest.mark.parametrize(
    ("suffix", "format"), [(".jp2", "JPEG2000"), (".tif", "TIFF"), (".bmp", "BMP"), (".ppm", "PPM")]
)
def test_lossless_formats_are_read_to_the_pixel(tmp_path: Path, suffix: str, format: str) -> None:
    (tmp_path / f"image{suffix}").write_bytes(encoded(IMAGES[0], format))
    assert np.array_equal(data.folder(tmp_path).images, IMAGES[:1])


def test_folder_errors(tmp_path: Path, cache_folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*none"):
        data.folder(tmp_path / "none")
    (tmp_path / "empty/sub").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty: no image below this folder"):
        data.folder(tmp_path / "empty")
    (tmp_path / "empty/sub/a.png").write_bytes(encoded(IMAGES[0]))
    (tmp_path / "empty/sub/b.png").write_bytes(encoded(IMAGES[0])[:100])
    with pytest.raises(ValueError, match=r"sub/b\.png: the image does not decode"):
        data.folder(tmp_path / "empty")
    assert entries(cache_folder) == []


# --- what else lies in folders ---------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder with three images, one of them in a folder below."""
    root = tmp_path / "root/three"
    (root / "b").mkdir(parents=True)
    for image, name in zip(IMAGES, ("a.png", "c.png", "b/x.png"), strict=False):
        (root / name).write_bytes(encoded(image))
    return root


def names_in(root: Path) -> list[str]:
    """The set must stay the three images, listed under their own paths."""
    split = data.folder(root)
    assert np.array_equal(split.images, IMAGES[[0, 2, 1]])
    return sorted(_images(root))


def test_links_to_folders_already_seen_add_nothing(three: Path) -> None:
    digest = data.folder(three).digest
    for name, target in {"loop": ".", "a_again": "..", "0": "b", "b/up": "..", "z": str(three), "top": "/"}.items():
        (three / name).symlink_to(target)
        assert names_in(three) == ["a.png", "b/x.png", "c.png"]
    assert data.folder(three).digest == digest


def test_a_link_to_images_elsewhere_is_followed_once(three: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/y.png").write_bytes(encoded(IMAGES[3]))
    (tmp_path / "elsewhere/back").symlink_to(three)
    for name in ("one", "two"):
        (three / name).symlink_to(tmp_path / "elsewhere")
    assert sorted(_images(three)) == ["a.png", "b/x.png", "c.png", "one/y.png"]
    assert len(data.folder(three).images) == 4


def test_hidden_files_and_folders_are_passed_over(three: Path) -> None:
    write_files(three, {".a.png": b"", ".git/y.png": encoded(IMAGES[3]), "b/.x/y.png": encoded(IMAGES[3])})
    (three / ".link").symlink_to("nothing")
    assert names_in(three) == ["a.png", "b/x.png", "c.png"]


def test_special_files_among_the_images_are_passed_over(three: Path) -> None:
    os.mkfifo(three / "fifo.png")
    (three / "zero.png").symlink_to("/dev/zero")
    (three / "devices").symlink_to("/dev")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(three / "socket.png"))  # an absolute path may be too long for a socket
        assert names_in(three) == ["a.png", "b/x.png", "c.png"]


@pytest.mark.parametrize("target", ["nothing.png", "x.png"])
def test_an_image_that_is_a_link_to_nothing_is_an_error(three: Path, target: str) -> None:
    (three / "notes").symlink_to("nothing")  # no image, so no matter
    assert len(data.folder(three).images) == 3
    (three / "x.png").symlink_to(target)
    with pytest.raises(ValueError, match=r"x\.png cannot be read: .*mend or remove it"):
        data.folder(three)


def test_a_file_of_a_terabyte_is_refused_at_once(three: Path) -> None:
    (three / "large.png").touch()
    os.truncate(three / "large.png", 1 << 40)  # sparse: takes no room
    with pytest.raises(ValueError, match=r"large\.png: 1099511627776 bytes are no image"):
        data.folder(three)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_an_error(three: Path) -> None:
    (three / "b").chmod(0)
    with pytest.raises(ValueError, match="three/b cannot be read"):
        data.folder(three)


def test_names_that_are_not_utf8_are_read(three: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(three) + b"/z\xff.png"))
    path.write_bytes(encoded(IMAGES[5]))
    assert np.array_equal(data.folder(three).images[-1], IMAGES[5])
    path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"z\\xff\.png: the image does not decode") as raised:
        data.folder(three)
    str(raised.value).encode()  # can be printed and logged


def test_a_line_break_in_a_name_does_not_make_two_files(tmp_path: Path) -> None:
    """Otherwise both folders had one digest, and the cache would give the images of one for the other's."""
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "a.png").write_bytes(encoded(IMAGES[0]))
    (two / "b.png").write_bytes(encoded(IMAGES[1]))
    second = hashlib.sha256(encoded(IMAGES[1])).hexdigest()
    (one / "a.png").rename(one / f"a.png\n{second}  b.png")
    assert len(data.folder(one).images) == 1
    assert len(data.folder(two).images) == 2


def test_the_digest_is_that_of_sha256sum(three: Path) -> None:
    (three / "back\\slash.png").write_bytes(encoded(IMAGES[5]))
    (three / "line\nbreak.png").write_bytes(encoded(IMAGES[6]))
    listing = subprocess.run(["sha256sum", *sorted(_images(three))], cwd=three, capture_output=True, check=True).stdout
    assert data.folder(three).digest == hashlib.sha256(listing).hexdigest()


def test_an_image_that_changes_while_it_is_read_is_an_error(three: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.png: the file changed while the set was read"):
        decode(Encoded(three / "a.png", -1, "a.png", digest="0" * 64))


@pytest.mark.parametrize("path", [None, "", 5, "a\0b", "~nobody-has-this-name/x", "x" * 5000])
@pytest.mark.parametrize("reader", [data.folder, data.from_path, data.parquet])
def test_what_is_no_path_is_refused(reader: Any, path: Any) -> None:
    with pytest.raises(ValueError, match=r"path to a data set|cannot be opened"):
        reader(path)


# --- a class is left out ---------------------------------------------------------------------------------------------


@pytest.fixture
def kinds(tmp_path: Path) -> Path:
    """A folder with an image of its own and two classes."""
    files = {
        name: encoded(IMAGES[row]) for row, name in enumerate(("top.png", "elm/a.png", "elm/x/b.png", "oak/a.png"))
    }
    return write_files(tmp_path / "kinds", files)


@pytest.mark.parametrize(("excluded", "rows"), [(["elm"], [3, 0]), ([0], [3, 0]), ([1], [1, 2, 0]), ([], [1, 2, 3, 0])])
def test_folders_are_left_out_by_name_or_number(kinds: Path, excluded: list[str | int], rows: list[int]) -> None:
    for read in (data.folder, data.from_path):
        split = read(kinds, excluded)
        assert np.array_equal(split.images, IMAGES[rows])
        assert set(split.labels) == {data.UNKNOWN}


def test_leaving_out_is_another_set(kinds: Path) -> None:
    assert data.folder(kinds, ["elm"]).digest != data.folder(kinds).digest


def test_a_folder_to_leave_out_must_be_there(kinds: Path, cache_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"kinds: exclude_classes has ok, of which .* called oak"):
        data.folder(kinds, ["ok"])
    with pytest.raises(ValueError, match="kinds: exclude_classes has 2"):
        data.folder(kinds, [2])
    assert entries(cache_folder) == []


# --- folders of classes ----------------------------------------------------------------------------------------------


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """A set to learn: two classes, images of any size at any depth."""
    large = encoded(picture("RGB", 60, 90))
    train = {"elm/a.png": encoded(IMAGES[0]), "ash/x/b.png": encoded(IMAGES[1]), "ash/c.png": large}
    files = {f"train/{name}": content for name, content in train.items()}
    files |= {"test/ash/d.png": encoded(IMAGES[2]), "test/elm/e.png": encoded(IMAGES[3]), "notes.txt": b"text"}
    return write_files(tmp_path / "leaves", files)


def test_classes_are_folders_in_alphabetical_order(leaves: Path) -> None:
    for _ in range(2):  # decoded, then from the cache
        train, test = data.class_folder(leaves, "train"), data.class_folder(leaves, "test")
        assert train.classes == test.classes == ("ash", "elm")
        assert (train.labels.tolist(), test.labels.tolist()) == ([0, 0, 1], [0, 1])
        assert np.array_equal(train.images[1:], IMAGES[[1, 0]])
        assert np.array_equal(test.images, IMAGES[2:4])


def test_an_image_in_another_class_is_another_set(leaves: Path) -> None:
    before = data.class_folder(leaves, "train").digest
    (leaves / "train/ash/c.png").rename(leaves / "train/elm/c.png")
    after = data.class_folder(leaves, "train")
    assert after.digest != before
    assert sorted(after.labels) == [0, 1, 1]


def test_labels_do_not_share_a_cache_entry_with_none(leaves: Path) -> None:
    assert set(data.folder(leaves / "train").labels) == {data.UNKNOWN}
    assert data.class_folder(leaves, "train").labels.tolist() == [0, 0, 1]
    assert data.folder(leaves / "train").digest != data.class_folder(leaves, "train").digest


def test_a_set_to_learn_that_is_not_there_says_how_it_lies(leaves: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder at .*leaves/val: a set to learn is <path>/train/<class>/"):
        data.class_folder(leaves, "val")


def test_a_class_without_an_image_is_named(leaves: Path, cache_folder: Path) -> None:
    (leaves / "train/oak/empty").mkdir(parents=True)
    (leaves / "train/.hidden").mkdir()
    (leaves / "train/.hidden/a.png").write_bytes(encoded(IMAGES[0]))
    with pytest.raises(ValueError, match=r"leaves/train: no image in the folder of a class \(oak\)"):
        data.class_folder(leaves, "train")
    assert entries(cache_folder) == []


def test_hidden_folders_alone_are_no_classes(tmp_path: Path) -> None:
    (tmp_path / "train/.hidden").mkdir(parents=True)
    (tmp_path / "train/.hidden/a.png").write_bytes(encoded(IMAGES[0]))
    with pytest.raises(ValueError, match="train: no image below this folder"):
        data.class_folder(tmp_path, "train")


def test_hidden_folders_within_a_class_are_passed_over(leaves: Path) -> None:
    before = data.class_folder(leaves, "train").digest
    write_files(leaves, {"train/ash/x/.ipynb_checkpoints/b-checkpoint.png": encoded(IMAGES[1])})
    assert data.class_folder(leaves, "train").digest == before


def test_an_image_outside_the_classes_is_named(leaves: Path) -> None:
    (leaves / "train/stray.png").write_bytes(encoded(IMAGES[0]))
    with pytest.raises(ValueError, match=r"train/stray\.png lies in no class's folder"):
        data.class_folder(leaves, "train")


def test_an_image_of_a_class_that_does_not_decode_is_named(leaves: Path, cache_folder: Path) -> None:
    (leaves / "train/ash/c.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"train/ash/c\.png: the image does not decode"):
        data.class_folder(leaves, "train")
    assert entries(cache_folder) == []
