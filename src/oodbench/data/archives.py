"""CIFAR-10, CIFAR-100 and SVHN under a data root: as parquet files, as the official archives, or downloaded.

Addresses, file names and md5 digests are torchvision's, read from its classes and not repeated here. torchvision is
imported inside functions: it brings torch, for which a report with images does not wait.
"""

import pickle
import tarfile
import zlib
from hashlib import md5, sha256
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from oodbench.data.cache import Decoded, cached
from oodbench.data.download import Archive, check_md5, choose, find_or_download, find_or_download_file
from oodbench.data.files import file_sha256, printable, source_path
from oodbench.data.images import SIDE, array_batches
from oodbench.data.parquet import parquet_below
from oodbench.data.parts import PARTS, part_of_test
from oodbench.data.split import Split


def cifar10(root: str | Path, split: str) -> Split:
    """Read CIFAR-10 (Krizhevsky, 2009): 50,000 "train" and 10,000 "test" images of 10 classes. Found as `svhn` is.

    Further splits are parts of the test set: see `part_of_test`.
    """
    return _cifar_split(root, "cifar10", split)


def cifar100(root: str | Path, split: str) -> Split:
    """Read CIFAR-100 (Krizhevsky, 2009): 50,000 "train", 10,000 "test", 100 fine labels. Found as `svhn` is.

    Further splits are parts of the test set: see `part_of_test`.
    """
    return _cifar_split(root, "cifar100", split)


def svhn(root: str | Path, split: str) -> Split:
    """Read SVHN, cropped digits (Netzer et al., 2011): 73,257 "train" and 26,032 "test" images of the digits 0..9.

    Looked for as root/svhn/<split>.parquet, then as the official archive in root/ and in root/svhn/; else downloaded
    to root/svhn/. Nothing is written under root unless it is downloaded.

    Raises FileNotFoundError if it is in none of these places and the download fails; ValueError, with the file and
    both digests, for an archive that is altered or not whole, and for a split that does not exist.
    """
    return parquet_below(root, "svhn", split) or _svhn(source_path(root), split)


def _svhn(root: Path, split: str) -> Split:
    from torchvision.datasets import SVHN

    url, file, digest = choose(SVHN.split_list, "svhn", split)
    place = find_or_download_file(root, Archive("svhn", split, url, file, digest))
    return cached(file_sha256(place), lambda: _decode_svhn(place, digest))


def _cifar_split(root: str | Path, name: str, split: str) -> Split:
    if split in PARTS:
        return part_of_test(root, name, split, lambda: _cifar_split(root, name, "test"))
    return parquet_below(root, name, split) or _cifar(source_path(root), name, split)


def _cifar(root: Path, name: str, split: str) -> Split:
    from torchvision import datasets

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    parts = dict(choose({"train": source.train_list, "test": source.test_list}, name, split, PARTS))
    archive = Archive(name, split, source.url, source.filename, source.tgz_md5, source.base_folder)
    place = find_or_download(root, archive)
    parts[source.meta["filename"]] = source.meta["md5"]
    # The archive holds both splits, so its own digest would not tell them apart.
    digests = _digests(place, parts) if place.is_dir() else [split, file_sha256(place)]
    return cached(sha256(" ".join(digests).encode()).hexdigest(), lambda: _decode_cifar(place, archive, parts, source))


def _digests(folder: Path, parts: dict[str, str]) -> list[str]:
    """Return the sha256 of every part of an extracted archive."""
    for part in parts:
        if not (folder / part).is_file():
            raise FileNotFoundError(
                f"{printable(folder)} is not a whole extracted archive: {part} is missing; remove the folder"
            )
    return [file_sha256(folder / part) for part in parts]


def _decode_cifar(place: Path, archive: Archive, parts: dict[str, str], source: Any) -> Decoded:
    """Decode the parts: file name -> md5, the images' files first and in order."""
    members = _folder_members(place, parts) if place.is_dir() else _tar_members(place, archive, parts)
    contents = {}
    for part, expected in parts.items():
        actual = md5(members[part], usedforsecurity=False).hexdigest()
        if actual != expected:
            raise ValueError(
                f"{printable(place)}: {part} is altered: md5 {actual}, expected {expected}; "
                "once it is removed, the archive can be downloaded again"
            )
        contents[part] = pickle.loads(members[part], encoding="latin1")  # can run code: only the published bytes
    classes = tuple(contents.pop(source.meta["filename"])[source.meta["key"]])
    images = np.concatenate([batch["data"] for batch in contents.values()])
    labels = np.concatenate([batch.get("fine_labels", batch.get("labels")) for batch in contents.values()])
    images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Decoded(len(images), classes, array_batches(images, labels.astype(np.int64)))


def _folder_members(folder: Path, parts: dict[str, str]) -> dict[str, bytes]:
    return {part: (folder / part).read_bytes() for part in parts}


def _tar_members(file: Path, archive: Archive, parts: dict[str, str]) -> dict[str, bytes]:
    """Read in memory: nothing is extracted to the disk, links and absolute names are passed over."""
    check_md5(file, archive.md5)
    members = {}
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                folder, _, part = member.name.removeprefix("./").partition("/")
                wanted = folder == archive.folder and part in parts and member.isfile()
                if wanted and (content := tar.extractfile(member)):
                    members[part] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{printable(file)} is no whole tar archive: {error}") from error
    if missing := parts.keys() - members.keys():
        raise ValueError(
            f"{printable(file)}: no file {', '.join(sorted(missing))} in the archive's folder {archive.folder}"
        )
    return members


def _decode_svhn(file: Path, expected: str) -> Decoded:
    check_md5(file, expected)
    content = loadmat(str(file))
    images = content["X"].transpose(3, 0, 1, 2)  # stored as (32, 32, 3, N)
    labels = content["y"].ravel().astype(np.int64) % 10  # stored with 10 for the digit 0
    return Decoded(len(images), tuple(str(k) for k in range(10)), array_batches(images, labels))
