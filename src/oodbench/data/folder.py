"""A folder of images, at any depth."""

import os
from collections.abc import Iterator
from errno import ELOOP, ENOENT
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from oodbench.data.cache import Decoded, cached
from oodbench.data.files import file_sha256, printable, source_path
from oodbench.data.images import Encoded, decode_batches
from oodbench.data.parquet import parquet
from oodbench.data.split import UNKNOWN, Split

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
MAX_BYTES = 1 << 30  # of one file; a larger one is no image, and its digest alone would take seconds to hours


def folder(path: str | Path) -> Split:
    """Read all images below `path`, sorted by their relative path; no labels, so good as an OOD set only.

    Regular files alone are read. Links are followed, but no folder is entered twice, nor one that `path` lies in.
    Hidden files and files without the suffix of an image are passed over. The digest is the sha256 of the listing
    that sha256sum would write of the images.

    Raises FileNotFoundError, and ValueError for a folder without an image, a link to nothing, a folder that cannot be
    read, or an image that does not decode.
    """
    path = source_path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no folder of images at {printable(path)}")
    names = sorted(_images(path))
    if not names:
        raise ValueError(f"{printable(path)}: no image below this folder (looked for {', '.join(sorted(SUFFIXES))})")
    digests = [file_sha256(path / name) for name in names]
    listing = b"".join(_line(name, digest) for name, digest in zip(names, digests, strict=True))
    rows = (
        Encoded(path / name, UNKNOWN, printable(path / name), digest)
        for name, digest in zip(names, digests, strict=True)
    )
    count, title = len(names), printable(Path(path.name))
    return cached(sha256(listing).hexdigest(), lambda: Decoded(count, (), decode_batches(rows, count, title)))


def from_path(path: str | Path) -> Split:
    """Read a custom set by what lies at the path: a parquet file, or a folder of images."""
    return folder(path) if source_path(path).is_dir() else parquet(path)


def _line(name: str, digest: str) -> bytes:
    """Write one line as sha256sum does: a name with a line break must not pass for two lines."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("" if escaped == name else "\\").encode() + f"{digest}  ".encode() + os.fsencode(escaped) + b"\n"


def _images(path: Path) -> Iterator[str]:
    """Yield the images' paths relative to `path`."""
    seen = {_identity(parent) for parent in path.resolve().parents}
    folders = [path]
    while folders:
        folder = folders.pop(0)
        if _identity(folder) in seen:
            continue
        seen.add(_identity(folder))
        images, inside, links = _contents(folder)
        yield from (image.relative_to(path).as_posix() for image in images)
        folders = inside + folders + links  # links last: an image is listed under its own path, not under a link's


def _identity(folder: Path) -> tuple[int, int]:
    """Return the same pair for every path that leads to this folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _contents(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the images in a folder, its subfolders, and its links to folders; each sorted by name.

    Raises ValueError for an image that is a link to nothing or larger than MAX_BYTES, and for what may not be read.
    """
    images: list[Path] = []
    inside: list[Path] = []
    links: list[Path] = []
    for path in _sorted(folder):
        is_wanted = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        try:
            status = path.stat()
        except OSError as error:
            if not is_wanted and error.errno in (ENOENT, ELOOP):  # a link to nothing that is no image
                continue
            raise ValueError(f"{printable(path)} cannot be read: {error.strerror}; remove it or mend it") from error
        if S_ISDIR(status.st_mode):
            (links if path.is_symlink() else inside).append(path)
        elif is_wanted and S_ISREG(status.st_mode):  # reading a FIFO or a device would never end
            if status.st_size > MAX_BYTES:
                raise ValueError(f"{printable(path)}: {status.st_size} bytes are no image; remove the file")
            images.append(path)
    return images, inside, links


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{printable(folder)} cannot be read: {error.strerror}; remove it or mend it") from error
