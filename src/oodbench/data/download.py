"""The official archive of a data set: found on disk, checked by its md5, or downloaded."""

import http.client
import os
import urllib.request
import uuid
from collections.abc import Iterable, Mapping
from hashlib import file_digest, md5
from pathlib import Path
from typing import NamedTuple, TypeVar

from tqdm import tqdm

from oodbench.data.files import printable, remove_stale

OFFLINE = "OODBENCH_OFFLINE"  # environment variable: nothing is downloaded where it is set
TIMEOUT = 15  # seconds without a byte

T = TypeVar("T")


class Archive(NamedTuple):
    """A file to download, and the split that it holds."""

    name: str  # of the data set
    split: str
    url: str
    file: str
    md5: str
    folder: str | None = None  # it holds this folder, which may lie extracted in its place
    homes: tuple[str, ...] = ("",)  # folders below root where it is looked for, besides <name>


def choose(splits: Mapping[str, T], name: str, split: str, others: Iterable[str] = ()) -> T:
    """Return the entry of a split. Raises ValueError, with the available splits, for one that does not exist."""
    if split not in splits:
        raise ValueError(f"{name} has no split {split}; available: {', '.join([*splits, *others])}")
    return splits[split]


def find_or_download(root: Path, archive: Archive) -> Path:
    """Return the path of the archive, or of the folder extracted from it; download it if there is neither.

    Raises FileNotFoundError if it is in none of these places and the download fails, ValueError for a place that is
    neither a file nor a folder.
    """
    folders = [root / home for home in (*archive.homes, archive.name)]
    places = [folder / archive.file for folder in folders]
    if archive.folder:
        places += [folder / archive.folder for folder in folders]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        return _download(root, archive, places)
    if not (found.is_file() or found.is_dir()):  # reading a FIFO or a device would never end
        raise ValueError(f"{printable(found)} is neither a file nor a folder; remove it")
    return found


def find_or_download_file(root: Path, archive: Archive) -> Path:
    """Return the path of an archive that has no folder, as `find_or_download`; a folder is a ValueError."""
    place = find_or_download(root, archive)
    if place.is_dir():
        raise ValueError(f"{printable(place)} is a folder where the archive {archive.file} is expected; remove it")
    return place


def check_md5(file: Path, expected: str) -> None:
    """Raise ValueError, with both digests, unless the file is the published one."""
    with file.open("rb") as content:
        actual = file_digest(content, "md5").hexdigest()
    if actual != expected:
        raise ValueError(
            f"{printable(file)} ({file.stat().st_size} bytes) is altered or not whole: md5 {actual}, expected "
            f"{expected}; once it is removed, it can be downloaded again"
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
            f"{archive.name} ({archive.split}) is not under {printable(root)} and could not be downloaded from "
            f"{archive.url} ({error}). Looked for: {', '.join(map(printable, places))}. Where there is a network, this "
            f"fetches it: python scripts/prepare_data.py {archive.name} --split {archive.split} --data-root "
            f"{printable(root)}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return file


def _fetch(url: str, part: Path) -> str:
    """Write what is at the address to a file and return its md5. Make no folder before the address has answered."""
    if os.environ.get(OFFLINE):
        raise ConnectionError(f"{OFFLINE} is set")
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
