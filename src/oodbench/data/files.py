"""Source files: paths that can be opened and printed, sha256 digests, leftovers of killed processes."""

import logging
import os
import shutil
import time
from hashlib import file_digest
from pathlib import Path

LARGEST = 16 << 30  # bytes of one file of a set
STALE = 24 * 3600  # seconds after which an unfinished file or folder counts as left behind

log = logging.getLogger(__name__)


def source_path(path: str | Path, root: str | Path = "") -> Path:
    """Return root/path, with ~ expanded in both. Raises ValueError if that is not a path."""
    for part in (path, root):
        if not isinstance(part, str | Path) or "\0" in str(part):
            raise ValueError(f"{part!r} is not a path to a data set")
    if not str(path):
        raise ValueError("the path to a data set is empty; give one, for example ood.<name>.path=/data/leaves")
    try:
        full = Path(root).expanduser() / Path(path).expanduser()
        full.exists()  # raises OSError for a name that is too long and a folder that may not be entered
    except (RuntimeError, OSError) as error:  # RuntimeError: ~name of a user that does not exist
        raise ValueError(f"{printable(Path(path))} cannot be opened: {error}") from error
    return full


def printable(path: Path) -> str:
    """Return the path as text that every terminal and log accepts: bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, in hex. Raises ValueError where it cannot be read or is larger than LARGEST.

    A file may be a terabyte of nothing, whose digest would take an hour.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= LARGEST:
                return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{printable(path)} cannot be read: {error.strerror}; mend or remove it") from error
    raise ValueError(f"{printable(path)} has {size} bytes, more than any set of images; remove it")


def check_listed(path: Path, actual: str) -> None:
    """Compare a file's sha256 with the SHA256SUMS beside the file or up to two folders above it.

    Raises ValueError where a list names the file with another digest. A file that no list names passes.
    """
    path = path.absolute()  # links are not resolved: the list names the file by the path that the user sees
    for folder in path.parents[:3]:
        sums = folder / "SHA256SUMS"
        if not sums.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        for line in sums.read_text("utf-8", "surrogateescape").splitlines():
            expected, _, listed = line.partition(" ")
            if listed.lstrip(" *").removeprefix("./") == name:
                if expected.lower() != actual:
                    raise ValueError(
                        f"{printable(path)} is altered or not whole: sha256 {actual}, but {printable(sums)} lists "
                        f"{expected}; fetch the file again"
                    )
                return


def remove_stale(folder: Path, pattern: str) -> None:
    """Remove what killed processes left behind: matching names that have not been written to for a day."""
    for left in folder.glob(pattern):
        try:
            if time.time() - left.lstat().st_mtime > STALE:
                remove(left)
        except OSError as error:  # another process removes it too, or the file is another user's
            log.debug("cannot remove %s: %s", left, error)


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
