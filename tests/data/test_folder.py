"""Folders of images, with what else lies in folders."""

from pathlib import Path

import numpy as np
import pytest
from helpers.config import ROOT
from helpers.image_files import IMAGES, encoded, entries

from oodbench import data

CONF = ROOT / "conf"

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
