"""Files that are whole or absent, with a checksum: text, JSON, and named arrays as safetensors."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Arrays = dict[str, NDArray[Any]]
Content = dict[str, Any]

DEVICES = Path("/dev")  # where root may replace what the whole machine uses
NO_PLACE = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP)


class UnwritableError(OSError):
    """The disk is full, or the folder does not accept files."""


@contextmanager
def naming_unwritable(path: Path) -> Iterator[None]:
    """Turn an OSError into an UnwritableError with the file's name and the way out."""
    try:
        yield
    except OSError as error:
        once = "what lies there is moved away" if error.errno in NO_PLACE else "there is room, or permission"
        way_out = f"what was written before is whole; once {once}, the same command continues"
        raise UnwritableError(f"cannot write {path}: {error.strerror}; {way_out}") from None


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write the whole file or nothing: a reader, or a start after a crash, never meets half of it.

    Raises UnwritableError, naming the file, where the operating system refuses.
    """
    if path.absolute().parent == DEVICES:
        raise UnwritableError(f"cannot write {path}: a file would take the place of a device")
    with naming_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data.encode() if isinstance(data, str) else data)


def make_writable_folder(folder: Path) -> None:
    """Make the folder; raise UnwritableError where it does not accept files."""
    with naming_unwritable(folder):
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


def write_json(path: Path, content: Content, indent: int | None = 1) -> None:
    """Write JSON atomically, with the checksum of the rest under "sha256"; indent None: on one line."""
    write_atomic(path, json.dumps({**content, "sha256": checksum(content)}, indent=indent) + "\n")


def regular(path: Path) -> Path:
    """Return the path. Raises ValueError where it is no regular file: a FIFO or a device would never end."""
    if not path.is_file():
        raise ValueError(f"{path} is {'no regular file' if path.exists() else 'missing'}")
    return path


def reason_of(path: Path, error: Exception) -> str:
    """Say in one line why a file cannot be read; what says so already is not wrapped again."""
    says, reason = f"{path} cannot be read: ", " ".join(str(error).split())
    return says + reason.removeprefix(says)


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Turn an error in a file's content into a ValueError with the file's name; not one of writing another file."""
    try:
        yield
    except UnwritableError:
        raise
    except KeyError as error:
        raise ValueError(f"{path} lacks the key {error}") from error
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(reason_of(path, error)) from error


def read_json(path: Path, way_out: str = "repeat the run's command") -> Content:
    """Read what `write_json` wrote. Raises ValueError, with file and way out, where it was damaged or edited."""
    try:
        content = dict(json.loads(regular(path).read_text("utf-8")))
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); {way_out}") from error
    if content.pop("sha256", None) != checksum(content):
        raise ValueError(f"{path} was altered, its sha256 does not agree; {way_out}")
    return content


def checksum(content: Content) -> str:
    """Return the sha256 of the content as JSON, which does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], **metadata: str) -> None:
    """Write named arrays atomically, with metadata and a checksum of both."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    about = json.dumps({**metadata, "sha256": arrays_checksum(whole, metadata)})
    write_atomic(path, save(whole, metadata={"oodbench": about}))  # of two entries the order would be random


def load_arrays(path: Path) -> tuple[Arrays, dict[str, str]]:
    """Return the arrays and the metadata. Raises ValueError naming the file when it is cut off or altered."""
    try:
        with safe_open(regular(path), framework="numpy") as file:
            arrays: Arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            metadata: dict[str, str] = dict(json.loads((file.metadata() or {}).get("oodbench", "{}")))
    except (SafetensorError, ValueError, TypeError, OSError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if metadata.pop("sha256", None) != arrays_checksum(arrays, metadata):
        raise ValueError(f"{path} is damaged: its sha256 does not agree")
    return arrays, metadata


def arrays_checksum(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> str:
    """Return the sha256 of names, types, shapes and values, and of the metadata."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
