"""Decoded images on disk: <cache>/<key>/{images.npy, labels.npy, meta.json}, keyed by the digest of their source.

An entry is built in a folder of another name, flushed to disk and renamed into place, so whatever stands under a key
is whole, no matter how many processes build it at once or when one of them is killed.
"""

import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.data.images import SIDE
from oodbench.data.split import Split

FORMAT = 1  # raise it when decoding changes: entries of older formats are then left alone and not found
STALE = 24 * 3600  # seconds after which an unfinished build is taken for dead
DAMAGED = (OSError, EOFError, ValueError, LookupError, TypeError)  # what reading half a .npy or .json ends in

log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    size: int  # images in all
    classes: tuple[str, ...]
    batches: Iterable[tuple[NDArray[np.uint8], NDArray[np.int64]]]  # (B, 32, 32, 3), (B,)


def directory() -> Path:
    """$OODBENCH_CACHE, else oodbench in the user's cache folder."""
    if chosen := os.environ.get("OODBENCH_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "oodbench"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def cached(digest: str, decode: Callable[[], Decoded]) -> Split:
    """The decoded images of the source with this digest, from the cache or, where it has none, from `decode`.

    Raises OSError, with the cache's path, if the cache cannot be written; and whatever `decode` raises, in which case
    nothing is left behind.
    """
    entry = directory() / f"{digest}-{FORMAT}"
    if entry.exists():
        try:
            return _opened(entry, digest)
        except DAMAGED as error:
            log.warning("decoding again: the cache entry %s is damaged (%s)", entry, error)
    return _build(entry, digest, decode())


def _opened(entry: Path, digest: str) -> Split:
    images = np.load(entry / "images.npy", mmap_mode="r")
    labels = np.load(entry / "labels.npy")
    meta = json.loads((entry / "meta.json").read_text())
    if images.shape != (meta["size"], SIDE, SIDE, 3) or images.dtype != np.uint8:
        raise ValueError(f"{meta['size']} images expected, found {images.dtype} {images.shape}")
    if labels.shape != (meta["size"],) or labels.dtype != np.int64:
        raise ValueError(f"{meta['size']} labels expected, found {labels.dtype} {labels.shape}")
    return Split(images, labels, digest, tuple(meta["classes"]))


def _build(entry: Path, digest: str, source: Decoded) -> Split:
    building = entry.parent / f".{entry.name}.{uuid.uuid4().hex[:12]}.building"
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(entry.parent, ".*.building")
        building.mkdir()
        _write(building, source)
        _place(building, entry, digest)
    except OSError as error:  # the cache's own: reading a source ends in ValueError where it fails
        raise OSError(
            error.errno,
            f"the cache of decoded images, {directory()}, cannot be written ({error.strerror or error}); "
            "make room or permission there, or set OODBENCH_CACHE to another folder",
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)  # renamed away, unless the build failed or came second
    return _opened(entry, digest)


def _write(building: Path, source: Decoded) -> None:
    """Written as a stream and not through a memory map: on a full disk that raises, where a map would kill the run."""
    labels: list[NDArray[np.int64]] = []
    with _file(building / "images.npy") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (source.size, SIDE, SIDE, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for images, batch_labels in source.batches:
            file.write(np.ascontiguousarray(images).data)
            labels.append(batch_labels)
    with _file(building / "labels.npy") as file:
        np.save(file, np.concatenate(labels))
    with _file(building / "meta.json") as file:
        file.write(json.dumps({"size": source.size, "classes": source.classes}).encode())


def _place(building: Path, entry: Path, digest: str) -> None:
    """Rename into place; a whole entry that another process put there meanwhile stays, a damaged one goes."""
    _opened(building, digest)
    _sync(building)
    try:
        building.rename(entry)
    except OSError:
        if not entry.exists():
            raise
        try:
            _opened(entry, digest)
        except DAMAGED:
            away = building.with_suffix(".damaged.building")
            entry.rename(away)
            building.rename(entry)
            shutil.rmtree(away, ignore_errors=True)
    _sync(entry.parent)


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove what killed processes left behind: whatever matches and has not been touched for a day."""
    for left in folder.glob(pattern):
        try:
            if left.stat().st_mtime > time.time() - STALE:
                continue
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        except OSError as error:  # another process sweeps too, or the file is another user's
            log.debug("cannot remove %s: %s", left, error)


@contextmanager
def _file(path: Path) -> Iterator[BinaryIO]:
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
