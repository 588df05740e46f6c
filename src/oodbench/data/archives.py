"""CIFAR-10, CIFAR-100 and SVHN under a data root: as parquet files, as the official archives, or downloaded.

Addresses, file names and md5 digests are torchvision's, read from its classes and not repeated here.
"""

import http.client
import os
import pickle
import tarfile
import urllib.request
import uuid
from collections.abc import Iterator
from hashlib import file_digest, md5, sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from oodbench.data import cache
from oodbench.data.cache import Decoded, cached, remove_stale
from oodbench.data.images import BATCH, SIDE
from oodbench.data.parquet import parquet
from oodbench.data.split import Split

TIMEOUT = 15  # seconds without a byte


class Archive(NamedTuple):
    name: str  # of the set
    split: str
    url: str
    file: str
    md5: str
    folder: str | None  # that torchvision extracts it to


def cifar10(root: str | Path, split: str) -> Split:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 "train" and 10,000 "test" images of 10 classes. Found as `svhn` is."""
    return _parquet(Path(root), "cifar10", split) or _cifar(Path(root), "cifar10", split)


def cifar100(root: str | Path, split: str) -> Split:
    """CIFAR-100 (Krizhevsky, 2009), fine labels: 50,000 "train", 10,000 "test", 100 classes. Found as `svhn` is."""
    return _parquet(Path(root), "cifar100", split) or _cifar(Path(root), "cifar100", split)


def svhn(root: str | Path, split: str) -> Split:
    """SVHN, cropped digits (Netzer et al., 2011): 73,257 "train" and 26,032 "test" images of the digits 0..9.

    Looked for as root/svhn/<split>.parquet, then as the official archive in root/ and in root/svhn/; else downloaded
    to root/svhn/. Nothing is written under root unless it is downloaded.

    Raises FileNotFoundError if it is in none of these places and the download fails; ValueError, with the file and
    both digests, for an archive that is altered or not whole.
    """
    return _parquet(Path(root), "svhn", split) or _svhn(Path(root), split)


def _parquet(root: Path, name: str, split: str) -> Split | None:
    """Looked for before torchvision is, whose import takes longer than reading a set from the cache."""
    path = root / name / f"{split}.parquet"
    return parquet(path) if path.exists() else None


def _svhn(root: Path, split: str) -> Split:
    from torchvision.datasets import SVHN

    url, file, digest = SVHN.split_list[split]
    place = _located(root, Archive("svhn", split, url, file, digest, None))
    return cached(cache.sha256(place), lambda: _decode_svhn(place, digest))


def _cifar(root: Path, name: str, split: str) -> Split:
    from torchvision import datasets

    source = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    archive = Archive(name, split, source.url, source.filename, source.tgz_md5, source.base_folder)
    place = _located(root, archive)
    parts = dict({"train": source.train_list, "test": source.test_list}[split])
    parts[source.meta["filename"]] = source.meta["md5"]
    # The archive holds both splits, so its own digest would not tell them apart.
    digests = _digests(place, parts) if place.is_dir() else [split, cache.sha256(place)]
    return cached(sha256(" ".join(digests).encode()).hexdigest(), lambda: _decode_cifar(place, archive, parts, source))


def _located(root: Path, archive: Archive) -> Path:
    """The archive or the folder extracted from it; downloaded if there is neither."""
    folders = (root, root / archive.name)
    places = [folder / archive.file for folder in folders]
    if archive.folder:
        places += [folder / archive.folder for folder in folders]
    return next((place for place in places if place.exists()), None) or _download(root, archive, places)


def _digests(folder: Path, parts: dict[str, str]) -> list[str]:
    """sha256 of every part of an extracted archive."""
    for part in parts:
        if not (folder / part).is_file():
            raise FileNotFoundError(f"{folder} is not a whole extracted archive: {part} is missing; remove the folder")
    return [cache.sha256(folder / part) for part in parts]


def _decode_cifar(place: Path, archive: Archive, parts: dict[str, str], source: Any) -> Decoded:
    """`parts`: file name -> md5, the images' files first and in order."""
    members = _folder_members(place, parts) if place.is_dir() else _tar_members(place, archive, parts)
    contents = {}
    for part, expected in parts.items():
        actual = md5(members[part], usedforsecurity=False).hexdigest()
        if actual != expected:
            raise ValueError(f"{place}: {part} is altered: md5 {actual}, expected {expected}")
        contents[part] = pickle.loads(members[part], encoding="latin1")  # only what the digest vouches for
    classes = tuple(contents.pop(source.meta["filename"])[source.meta["key"]])
    images = np.concatenate([batch["data"] for batch in contents.values()])
    labels = np.concatenate([batch.get("fine_labels", batch.get("labels")) for batch in contents.values()])
    images = images.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return Decoded(len(images), classes, _in_batches(images, labels.astype(np.int64)))


def _folder_members(folder: Path, parts: dict[str, str]) -> dict[str, bytes]:
    return {part: (folder / part).read_bytes() for part in parts}


def _tar_members(file: Path, archive: Archive, parts: dict[str, str]) -> dict[str, bytes]:
    """Read in memory: nothing is extracted to the disk."""
    _check_md5(file, archive.md5)
    members = {}
    with tarfile.open(file) as tar:
        for member in tar:
            folder, _, part = member.name.removeprefix("./").partition("/")
            if folder == archive.folder and part in parts and (content := tar.extractfile(member)):
                members[part] = content.read()
    if missing := parts.keys() - members.keys():
        raise ValueError(f"{file}: no {', '.join(sorted(missing))} in the archive's folder {archive.folder}")
    return members


def _decode_svhn(file: Path, expected: str) -> Decoded:
    from scipy.io import loadmat

    _check_md5(file, expected)
    content = loadmat(str(file))
    images = content["X"].transpose(3, 0, 1, 2)  # stored as (32, 32, 3, N)
    labels = content["y"].ravel().astype(np.int64) % 10  # stored with 10 for the digit 0
    return Decoded(len(images), tuple(str(k) for k in range(10)), _in_batches(images, labels))


def _in_batches(
    images: NDArray[np.uint8], labels: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH], labels[start : start + BATCH]


def _check_md5(file: Path, expected: str) -> None:
    with file.open("rb") as content:
        actual = file_digest(content, "md5").hexdigest()
    if actual != expected:
        raise ValueError(
            f"{file} ({file.stat().st_size} bytes) is altered or not whole: md5 {actual}, expected {expected}; "
            "once it is removed, it can be downloaded again"
        )


def _download(root: Path, archive: Archive, places: list[Path]) -> Path:
    """Fetch into root/<name>/, under another name until the digest agrees."""
    places = [root / archive.name / f"{archive.split}.parquet", *places]
    file = root / archive.name / archive.file
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        actual = _fetch(archive.url, part)
        if actual != archive.md5:
            raise ValueError(f"what arrived has md5 {actual}, expected {archive.md5}")
        part.replace(file)
        remove_stale(file.parent, f"{file.name}.*.part")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FileNotFoundError(
            f"{archive.name} ({archive.split}) is not under {root} and could not be downloaded from {archive.url} "
            f"({error}). Looked for: {', '.join(map(str, places))}. Where there is a network, this fetches it: "
            f"python scripts/prepare_data.py {archive.name} --split {archive.split} --data-root {root}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _fetch(url: str, part: Path) -> str:
    """Write what is at the address to a file; its md5. No folder is made before the address has answered."""
    digest = md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "oodbench"})  # some servers refuse urllib's own name
    with urllib.request.urlopen(request, timeout=TIMEOUT) as reply:
        size = int(reply.headers.get("Content-Length") or 0) or None
        part.parent.mkdir(parents=True, exist_ok=True)
        bar = tqdm(total=size, desc=f"downloading {part.parent.name}", unit="B", unit_scale=True, disable=None)
        with bar, part.open("wb") as file:
            while block := reply.read(1 << 20):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest()
