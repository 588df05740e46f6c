"""Contact sheets: only images that are there, under the digest that the record names."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.made_up import add_with_shifted, alter_metrics
from helpers.outputs import add_outputs
from PIL import Image

from oodbench.data.cache import Decoded, cached
from oodbench.report.images import computed_sets, data_uri, sheet_of, sheets_of, stored_images
from oodbench.report.material import read_one
from oodbench.report.summary import Wrong
from oodbench.shipped import CONF
from oodbench.targets import trusted

DIGEST = "ab" * 32


@pytest.fixture
def pixels(cache_folder: Path) -> np.ndarray:
    """Put ten images into the cache, each of one value."""
    images = np.repeat(np.arange(0, 250, 25, dtype=np.uint8), 32 * 32 * 3).reshape(10, 32, 32, 3)
    cached(DIGEST, lambda: Decoded(10, ("cat", "dog"), [(images, np.zeros(10, np.int64))]))
    return images


def test_images_are_found_by_digest(pixels: np.ndarray) -> None:
    split = stored_images(DIGEST)
    assert split
    assert np.array_equal(split.images, pixels)
    assert split.classes == ("cat", "dog")


@pytest.mark.parametrize("digest", ["cd" * 32, "../" + "a" * 61, "", "*" * 64])
def test_what_is_not_there_is_left_out(digest: str, pixels: np.ndarray) -> None:
    assert stored_images(digest) is None


@pytest.mark.parametrize("name", ["noise", "gaussian_noise", "unseen_digits"])
def test_sets_that_need_no_file_are_made(name: str) -> None:
    node = yaml.safe_load((CONF / f"ood/{name}.yaml").read_text("utf-8"))
    split = trusted(node, "data")
    found = stored_images(split.digest, node)
    assert found
    assert np.array_equal(found.images, split.images)
    assert stored_images("ab" * 32, node) is None


def test_an_untrusted_configuration_is_not_computed() -> None:
    node = {"_target_": "oodbench.data.uniform_noise", "images": 10**12}
    assert stored_images("ab" * 32, node) is None
    assert stored_images("ab" * 32, node | {"images": 10000.0}) is None  # equal to that of conf, and no argument
    made = ("gaussian_noise", "noise", "uniform_noise", "inverted_digits", "photo_patches", "shuffled_digits")
    assert {node["_target_"] for node in computed_sets()} == {f"oodbench.data.{n}" for n in (*made, "unseen_digits")}


def test_a_sheet_shows_the_rows_that_were_scored(pixels: np.ndarray) -> None:
    split = stored_images(DIGEST)
    assert split
    wrong = [Wrong(4, 1, 0.99, -1.0), Wrong(0, 7, 0.5, 0.0)]
    sheet = sheet_of("svhn", wrong, split, scored=5, classes=split.classes)  # every second image
    assert sheet
    assert sheet.texts == ["dog 99.0\u202f%", "class 7 50.0\u202f%"]
    picture = Image.open(io.BytesIO(base64.b64decode(sheet.image.partition(",")[2])))
    assert picture.size == (64, 32)
    assert np.abs(np.asarray(picture)[:, :32].astype(int) - 200).max() < 4


def test_more_scores_than_images_have_no_sheet(pixels: np.ndarray) -> None:
    split = stored_images(DIGEST)
    assert split
    assert sheet_of("svhn", [Wrong(0, 0, 1.0, 0.0)], split, scored=11, classes=()) is None


def test_shifted_id_has_no_sheet(cache_folder: Path, tmp_path: Path) -> None:
    """Its images are of known classes: to take them for ID is right."""
    folder = add_with_shifted(tmp_path, "ce", {"svhn": 0.9, "fog": 0.5})
    add_outputs(folder, {"svhn": 100, "fog": 100})
    digest = "2" * 64
    images = np.zeros((100, 32, 32, 3), np.uint8)
    cached(digest, lambda: Decoded(100, (), [(images, np.zeros(100, np.int64))]))
    digests = {"svhn": digest, "fog": digest}
    alter_metrics(folder, lambda content: content["provenance"].update(digests=digests))
    (run,) = read_one(folder).runs
    assert run.summary
    assert run.summary.wrong.keys() == {"svhn", "fog"}
    assert [sheet.ood for sheet in sheets_of(run)] == ["svhn"]


def test_a_picture_is_a_data_uri() -> None:
    assert data_uri(np.zeros((32, 32, 3), np.uint8)).startswith("data:image/jpeg;base64,")
