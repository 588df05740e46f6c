"""CIFAR-10-C and CIFAR-100-C: the test sets under 19 corruptions of five severities. Shifted ID: labels are kept."""

import io
import tarfile
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oodbench.data.cache import Decoded, cached
from oodbench.data.download import Archive, check_md5, find_or_download
from oodbench.data.files import printable, source_path
from oodbench.data.images import SIDE, array_batches
from oodbench.data.split import Split

# Addresses and digests of the authors' records.
ARCHIVES = {
    "cifar10c": Archive(
        "cifar10c", "test", "https://zenodo.org/records/2535967/files/CIFAR-10-C.tar", "CIFAR-10-C.tar",
        "56bf5dcef84df0e2308c6dcbcbbd8499", "CIFAR-10-C",
    ),
    "cifar100c": Archive(
        "cifar100c", "test", "https://zenodo.org/records/3555552/files/CIFAR-100-C.tar", "CIFAR-100-C.tar",
        "11f0ed0f1191edbf9fa23466ae6021d3", "CIFAR-100-C",
    ),
}  # fmt: skip
CORRUPTIONS = (  # the fifteen of the benchmark, and four for validation
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
    "speckle_noise", "gaussian_blur", "spatter", "saturate",
)  # fmt: skip
SEVERITIES = 5


def cifar10c(root: str | Path, corruption: str, severity: int) -> Split:
    """Read CIFAR-10-C (Hendrycks and Dietterich, 2019): the 10,000 test images of CIFAR-10 under one corruption.

    severity: 1 to 5. Looked for as the official archive CIFAR-10-C.tar or the folder CIFAR-10-C that it holds, in root/
    and root/cifar10c/; else the archive, 2.9 GB, is downloaded to root/cifar10c/.

    Raises FileNotFoundError and ValueError as `svhn`, and ValueError for a corruption or severity that there is not.
    """
    return _read(source_path(root), ARCHIVES["cifar10c"], corruption, severity)


def cifar100c(root: str | Path, corruption: str, severity: int) -> Split:
    """Read CIFAR-100-C (Hendrycks and Dietterich, 2019): the test images of CIFAR-100, as `cifar10c`."""
    return _read(source_path(root), ARCHIVES["cifar100c"], corruption, severity)


def _read(root: Path, archive: Archive, corruption: str, severity: int) -> Split:
    if corruption not in CORRUPTIONS:
        raise ValueError(f"{archive.name} has no corruption {corruption}; available: {', '.join(sorted(CORRUPTIONS))}")
    if severity not in range(1, SEVERITIES + 1):
        raise ValueError(f"{archive.name} has no severity {severity}; available: 1 to {SEVERITIES}")
    place = find_or_download(root, archive)
    content = [_file(place, archive, f"{name}.npy") for name in (corruption, "labels")]
    digest = sha256(" ".join([*(sha256(data).hexdigest() for data in content), str(severity)]).encode()).hexdigest()
    return cached(digest, lambda: _decode(place, archive, content, severity))


def _file(place: Path, archive: Archive, name: str) -> bytes:
    """Return the content of one file of the archive, or of the folder that it holds."""
    if place.is_dir():
        if not (place / name).is_file():
            raise FileNotFoundError(f"{printable(place)} is not the whole archive's folder: {name} is missing")
        return (place / name).read_bytes()
    try:
        with tarfile.open(place) as tar:
            content = tar.extractfile(f"{archive.folder}/{name}")
            if content:
                return content.read()
    except (tarfile.TarError, KeyError, EOFError) as error:
        raise ValueError(f"{printable(place)} is no whole archive {archive.file}: {error}; fetch it again") from error
    raise ValueError(f"{printable(place)}: {name} is no file of the archive")


def _decode(place: Path, archive: Archive, content: list[bytes], severity: int) -> Decoded:
    if place.is_file():
        _check_archive(place, archive.md5, place.stat().st_mtime_ns)
    images, labels = (_array(data, place) for data in content)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3) or len(images) % SEVERITIES:
        raise ValueError(f"{printable(place)}: the images are {images.dtype} {images.shape}, not uint8 (N, 32, 32, 3)")
    if labels.shape != (len(images),):
        raise ValueError(f"{printable(place)}: {len(images)} images, but labels of shape {labels.shape}")
    count = len(images) // SEVERITIES  # the severities stand one after another
    rows = slice((severity - 1) * count, severity * count)
    return Decoded(count, (), array_batches(images[rows], labels[rows].astype(np.int64)))


@cache
def _check_archive(file: Path, digest: str, changed: int) -> None:
    """Check 2.9 GB once in a process, unless the file changes meanwhile."""
    check_md5(file, digest)


def _array(content: bytes, place: Path) -> NDArray[np.uint8]:
    try:
        array: NDArray[np.uint8] = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{printable(place)}: a file is no whole array: {error}; fetch it again") from error
    return array
