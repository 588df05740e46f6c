"""Image files in the order of a list: the digest, and what is read."""

import subprocess
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from helpers.image_files import IMAGES, encoded, entries, write_files

from oodbench.data.listing import read_files

pytestmark = pytest.mark.usefixtures("cache_folder")

NAMES = ["b/1.png", "a.png", "line\nbreak \\ blätter.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_files(tmp_path / "set", {name: encoded(image) for name, image in zip(NAMES, IMAGES, strict=False)})


def test_images_come_in_the_order_of_the_names(root: Path) -> None:
    for names, rows in ((NAMES, [0, 1, 2]), (NAMES[1::-1], [1, 0])):
        split = read_files(root, names)
        assert np.array_equal(split.images, IMAGES[rows])
        assert split.labels.tolist() == [-1] * len(names)


def test_the_digest_is_that_of_the_listing_of_sha256sum(root: Path) -> None:
    listing = subprocess.run(["sha256sum", *NAMES], cwd=root, capture_output=True, check=True).stdout
    assert read_files(root, NAMES).digest == sha256(listing).hexdigest()


def test_order_labels_and_classes_are_part_of_the_digest(root: Path) -> None:
    found = [read_files(root, NAMES), read_files(root, NAMES[::-1])]
    found += [
        read_files(root, NAMES, labels, classes) for labels in ([0, 1, 1], [1, 0, 1]) for classes in ((), ("x", "y"))
    ]
    assert len({split.digest for split in found}) == len(found)
    assert (found[-1].labels.tolist(), found[-1].classes) == ([1, 0, 1], ("x", "y"))


def test_an_image_that_does_not_decode_leaves_nothing(root: Path, cache_folder: Path) -> None:
    write_files(root, {"a.png": b"no image"})
    with pytest.raises(ValueError, match=r"a\.png: the image does not decode"):
        read_files(root, NAMES)
    assert entries(cache_folder) == []
