"""Images that a text file lists, in the format of the public benchmark."""

from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, entries, write_files

from oodbench import data

pytestmark = pytest.mark.usefixtures("cache_folder")

FILES = {f"set/{folder}/{row}.png": encoded(IMAGES[row]) for row, folder in enumerate(("cat", "cat", "old dog"))}
LIST = "set/old dog/2.png 1\nset/cat/1.png 0\n\nset/cat/0.png -1\n"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_files(tmp_path / "images", FILES)


def listed(tmp_path: Path, text: str = LIST) -> Path:
    path = tmp_path / "list.txt"
    path.write_text(text)
    return path


def test_images_come_in_the_order_of_the_list(tmp_path: Path, images: Path) -> None:
    for _ in range(2):  # decoded, then from the cache
        split = data.imglist(listed(tmp_path), images)
        assert np.array_equal(split.images, IMAGES[[2, 1, 0]])
        assert split.labels.tolist() == [1, 0, -1]


def test_line_ends_of_other_systems_are_line_ends(tmp_path: Path, images: Path) -> None:
    (tmp_path / "list.txt").write_bytes(LIST.replace("\n", "\r\n").encode())
    assert data.imglist(tmp_path / "list.txt", images).labels.tolist() == [1, 0, -1]


def test_other_labels_or_images_are_another_set(tmp_path: Path, images: Path) -> None:
    texts = [LIST, LIST.replace("-1", "0"), LIST.replace("cat/1.png", "cat/0.png"), "set/cat/1.png 0\n"]
    digests = {data.imglist(listed(tmp_path, text), images).digest for text in texts}
    write_files(images, {"set/cat/1.png": encoded(IMAGES[7])})
    digests.add(data.imglist(listed(tmp_path), images).digest)
    assert len(digests) == 5


@pytest.mark.parametrize("excluded", [["old dog"], [1], ["old dog", 1]])
def test_classes_are_left_out_by_folder_or_label(tmp_path: Path, images: Path, excluded: list[str | int]) -> None:
    split = data.imglist(listed(tmp_path), images, excluded)
    assert np.array_equal(split.images, IMAGES[[1, 0]])


def test_a_class_that_the_list_lacks_is_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(ValueError, match=r"list\.txt: exclude_classes has dog, of which .* called old dog"):
        data.imglist(listed(tmp_path), images, ["dog"])
    with pytest.raises(ValueError, match=r"exclude_classes has 7, of which there is no image"):
        data.imglist(listed(tmp_path), images, [7])
    with pytest.raises(ValueError, match=r"exclude_classes=cat is no list"):
        data.imglist(listed(tmp_path), images, "cat")
    with pytest.raises(ValueError, match="leaves no image"):
        data.imglist(listed(tmp_path), images, ["cat", 1])


@pytest.mark.parametrize("line", ["set/cat/0.png", "set/cat/0.png x", "7", "set/cat/0.png -2", "set/cat/0.png 1.5"])
def test_a_line_that_is_none_is_named(tmp_path: Path, images: Path, line: str) -> None:
    with pytest.raises(ValueError, match=r"list\.txt, line 2: '.*' is not `path label`"):
        data.imglist(listed(tmp_path, f"set/cat/0.png 0\n{line}\n"), images)


def test_images_that_are_missing_are_counted(tmp_path: Path, images: Path, cache_folder: Path) -> None:
    text = LIST + "set/a.png 0\nset/b.png 0\n"
    with pytest.raises(FileNotFoundError, match=r"lists 2 images \(of 5\) that are not below .*example set/a\.png"):
        data.imglist(listed(tmp_path, text), images)
    assert entries(cache_folder) == []


def test_an_image_that_does_not_decode_is_named(tmp_path: Path, images: Path, cache_folder: Path) -> None:
    write_files(images, {"set/cat/1.png": b"no image"})
    with pytest.raises(ValueError, match=r"set/cat/1\.png: the image does not decode"):
        data.imglist(listed(tmp_path), images)
    assert entries(cache_folder) == []


def test_a_missing_list_or_folder_is_named(tmp_path: Path, images: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no list of images at .*none\.txt"):
        data.imglist(tmp_path / "none.txt", images)
    with pytest.raises(FileNotFoundError, match=r"no folder at .*nowhere"):
        data.imglist(listed(tmp_path), tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no line in this list"):
        data.imglist(listed(tmp_path, "\n"), images)


def test_the_benchmarks_lists_lie_beside_its_images(tmp_path: Path) -> None:
    write_files(tmp_path / "images_classic", FILES)
    write_files(tmp_path / "benchmark_imglist", {"cifar10/test_tin.txt": LIST.encode()})
    split = data.openood(tmp_path, "cifar10/test_tin.txt")
    assert np.array_equal(split.images, IMAGES[[2, 1, 0]])
    assert len(data.openood(tmp_path, "cifar10/test_tin.txt", ["cat"]).images) == 1
