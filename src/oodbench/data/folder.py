"""A folder of images, at any depth."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from oodbench.data import cache
from oodbench.data.cache import Decoded, cached
from oodbench.data.images import Encoded, decoded
from oodbench.data.parquet import parquet
from oodbench.data.split import UNKNOWN, Split

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def folder(path: str | Path) -> Split:
    """All images below `path`, sorted by their relative path; no labels, so good as an OOD set only.

    The digest is that of a SHA256SUMS listing of the images. Hidden files and other kinds of file are passed over.

    Raises FileNotFoundError, and ValueError for a folder without an image or an image that does not decode.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder of images at {path}")
    names = sorted(_images(path))
    if not names:
        raise ValueError(f"{path}: no image below this folder (looked for {', '.join(sorted(SUFFIXES))})")
    listing = "".join(f"{cache.sha256(path / name)}  {name}\n" for name in names)
    rows = (Encoded(path / name, UNKNOWN, str(path / name)) for name in names)
    digest = sha256(listing.encode()).hexdigest()
    return cached(digest, lambda: Decoded(len(names), (), decoded(rows, len(names), path.name)))


def from_path(path: str | Path) -> Split:
    """A set of one's own by what lies at the path: a parquet file, or a folder of images."""
    return folder(path) if Path(path).expanduser().is_dir() else parquet(path)


def _images(path: Path) -> Iterator[str]:
    for parent, _, files in os.walk(path, followlinks=True):
        for file in files:
            name = Path(parent, file)
            if name.suffix.lower() in SUFFIXES and not file.startswith("."):
                yield name.relative_to(path).as_posix()
