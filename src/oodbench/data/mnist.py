"""MNIST and Fashion-MNIST under a data root: as parquet files, as the official archives, or downloaded.

Addresses, file names and md5 digests are torchvision's, read from its classes and not repeated here.
"""

import gzip
import math
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oodbench.data.cache import Decoded, cached
from oodbench.data.download import Archive, check_md5, choose, find_or_download_file
from oodbench.data.files import file_sha256, printable, source_path
from oodbench.data.images import array_batches
from oodbench.data.parquet import parquet_below
from oodbench.data.split import Split

PREFIX = {"train": "train", "test": "t10k"}  # of the official files
UINT8 = 8  # the IDX format's code for unsigned bytes


def mnist(root: str | Path, split: str) -> Split:
    """Read MNIST (LeCun et al., 1998): 60,000 "train" and 10,000 "test" digits, 28x28, grey.

    Looked for as root/mnist/<split>.parquet, then as the official archives in root/mnist/ and root/MNIST/raw/; else
    downloaded to root/mnist/. Raises as `svhn`.
    """
    return parquet_below(root, "mnist", split) or _read(source_path(root), "mnist", "MNIST", split)


def fashion_mnist(root: str | Path, split: str) -> Split:
    """Read Fashion-MNIST (Xiao et al., 2017): 60,000 "train", 10,000 "test" images, 28x28, grey. Found as `mnist`."""
    return parquet_below(root, "fashion_mnist", split) or _read(
        source_path(root), "fashion_mnist", "FashionMNIST", split
    )


def _read(root: Path, name: str, torchvision_name: str, split: str) -> Split:
    from torchvision import datasets

    source, prefix = getattr(datasets, torchvision_name), choose(PREFIX, name, split)
    listed = [(file, digest) for file, digest in source.resources if file.startswith(prefix)]  # images, then labels
    archives = [
        Archive(name, split, source.mirrors[0] + file, file, digest, homes=(f"{torchvision_name}/raw",))
        for file, digest in listed  # not looked for in root itself: both sets' files have the same names
    ]
    places = [find_or_download_file(root, archive) for archive in archives]
    digests = " ".join(file_sha256(place) for place in places)
    return cached(sha256(digests.encode()).hexdigest(), lambda: _decode(places, archives, source))


def _decode(places: list[Path], archives: list[Archive], source: Any) -> Decoded:
    images, labels = (_idx(place, archive) for place, archive in zip(places, archives, strict=True))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{printable(places[0])}: {images.shape} images and {labels.shape} labels do not belong together"
        )
    classes = tuple(name.partition(" - ")[0] for name in source.classes)  # torchvision has "0 - zero"
    return Decoded(len(images), classes, array_batches(images, labels.astype(np.int64)))


def _idx(place: Path, archive: Archive) -> NDArray[np.uint8]:
    """Read the IDX format: two zero bytes, the type, the number of axes, each axis as a big-endian uint32, the data."""
    check_md5(place, archive.md5)
    try:
        content = gzip.decompress(place.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{printable(place)} is no whole gzip archive: {error}") from error
    start = 4 + 4 * (content[3] if len(content) > 3 else 0)
    shape = tuple(int.from_bytes(content[at : at + 4]) for at in range(4, start, 4))
    if content[:3] != bytes([0, 0, UINT8]) or len(content) - start != math.prod(shape):
        raise ValueError(f"{printable(place)} is not in the IDX format")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
