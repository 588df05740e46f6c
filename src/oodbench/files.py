"""Files that are whole or not there, and tell when they were altered."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Content = dict[str, Any]


class UnwritableError(OSError):
    """The disk is full, or the folder is not for writing."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the operating system refuses is said with the file's name and the way out."""
    try:
        yield
    except OSError as error:
        way_out = "what was written before is whole; when there is room, or leave to write, the same command goes on"
        raise UnwritableError(f"cannot write {path}: {error.strerror}; {way_out}") from None


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write the whole file or nothing: a reader, or a start after a crash, never meets half of it.

    Raises UnwritableError, naming the file, where the operating system refuses.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data.encode() if isinstance(data, str) else data)


def check_writable(folder: Path) -> None:
    """Make the folder; raise UnwritableError where it takes no files."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # noqa: PTH101 - mkstemp's 0600 would hide results from colleagues
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # noqa: PTH108
        raise


def write_sealed(path: Path, content: Content) -> None:
    """As JSON, atomically, with a digest of the rest under "sha256": a digit that changes on the disk is no result."""
    write_atomic(path, json.dumps({**content, "sha256": digest(content)}, indent=1) + "\n")


def read_sealed(path: Path) -> Content:
    """What `write_sealed` wrote. Raises ValueError naming the file where it is damaged or was edited."""
    try:
        content = dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); repeat the run's command") from error
    if content.pop("sha256", None) != digest(content):
        raise ValueError(f"{path} was altered, its sha256 does not agree; repeat the run's command")
    return content


def digest(content: Content) -> str:
    """sha256 of the content as JSON, whatever its keys' order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
