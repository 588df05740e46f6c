"""Small sets of images as files, in the layouts that users have."""

import hashlib
import io
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from oodbench.data.split import Split

IMAGES = np.random.default_rng(1).integers(256, size=(20, 32, 32, 3), dtype=np.uint8)
LABELS = np.arange(20) % 10
NAMES = tuple("abcdefghij")


def real(name: str) -> Path:
    """Return the folder of real sets; skip the test where it does not hold this one."""
    root = os.environ.get("OODBENCH_DATA", "")
    if not root or not Path(root, name, "test.parquet").is_file():
        pytest.skip(f"OODBENCH_DATA names no folder with {name}/test.parquet")
    return Path(root)


def encoded(image: NDArray[Any] | Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def pngs(images: NDArray[np.uint8] = IMAGES) -> list[bytes | None]:
    return [encoded(image) for image in images]


def picture(mode: str, width: int, height: int) -> Image.Image:
    noise = np.random.default_rng(3).integers(256, size=(height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA" if mode == "RGBA" else None).convert("RGB").convert(mode)


def write_parquet(
    path: Path,
    images: list[bytes | None],
    columns: dict[str, Any] | None = None,
    image: str = "img",
    metadata: dict[str, str] | dict[bytes, bytes] | None = None,
    **options: Any,
) -> Path:
    column = pa.array(
        [{"bytes": b, "path": None} for b in images], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    table = pa.table({image: column} | (columns or {})).replace_schema_metadata(metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def split_of(labels: list[int], digest: str = "d") -> Split:
    """Make a set whose images hold their row and their set's digest, so that a subset tells which rows it took."""
    images = np.zeros((len(labels), 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    images[:, 1, 0] = np.frombuffer(hashlib.sha256(digest.encode()).digest()[:3], np.uint8)
    return Split(images, np.array(labels, np.int64), digest, ())


def rows_of(split: Split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()
