"""Parquet files in the layout of the Hugging Face mirrors: a struct column with the encoded image, an integer label."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from oodbench.data.cache import Decoded, cached
from oodbench.data.classes import without_classes
from oodbench.data.files import check_listed, file_sha256, printable, source_path
from oodbench.data.images import BATCH, Encoded, decode_batches
from oodbench.data.split import UNKNOWN, Split

LARGEST_LABEL = 2**63 - 1  # of int64
RATIO, FREE = 100, 1 << 24  # encoded images hardly compress: a file's bytes may become 100 times as many, and 16 MB
ROW = 16  # bytes of a file for each of its rows, at least
LARGEST_BATCH = 1 << 28  # bytes of rows that are decompressed at once, were each as large as its whole row group


def parquet(path: str | Path, root: str | Path = "", exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read the images of one parquet file, in row order; a relative path is one below `root`.

    The image column is the first struct column with a binary field `bytes`; the label is the integer column
    `fine_label`, else `label`, else unknown, as null and -1 are. A SHA256SUMS file beside the file, or up to two
    folders above it, that lists it must agree.

    Raises FileNotFoundError, and ValueError with the file for: a digest that does not agree, a file that is not whole
    or becomes far larger when it is decompressed, no image column, metadata that cannot be read, a class to exclude
    that is not there, and (with the row) a label below -1 or above 2^63 - 1, an image that does not decode.
    """
    path = source_path(path, root)
    if path.exists() and not path.is_file():
        raise ValueError(
            f"{printable(path)} is a folder or a special file, not a parquet file; name one file in it "
            "(a folder of images is read by +ood.<name>.path=... or _target_: oodbench.data.folder)"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"no parquet file at {printable(path)}: expected one row per image, the encoded image in the `bytes` field "
            "of a struct column, as in the Hugging Face mirrors. No command of this project fetches it: put it there, "
            "or name another file or folder, dataset.path=... or +ood.<name>.path=..."
        )
    if printable(path) != str(path):
        raise ValueError(f"{printable(path)}: pyarrow opens only paths in UTF-8; rename the file or its folder")
    digest = file_sha256(path)
    check_listed(path, digest)
    return without_classes(cached(digest, lambda: _decode(path, digest)), exclude_classes, printable(path))


def parquet_below(root: str | Path, name: str, split: str) -> Split | None:
    """Read root/<name>/<split>.parquet if it is there: before others, since it needs no library that takes seconds."""
    path = source_path(f"{name}/{split}.parquet", root)
    return parquet(path) if path.exists() else None


def _decode(path: Path, digest: str) -> Decoded:
    with _readable(path):
        file = pq.ParquetFile(path)
        schema, count = file.schema_arrow, file.metadata.num_rows
    image, label = _columns(path, schema)
    if count == 0:
        raise ValueError(f"{printable(path)}: no rows")
    rows = _rows(path, file, image, label, digest, _batch_size(path, file.metadata))
    title = printable(Path(path.parent.name, path.name))
    return Decoded(count, _classes(path, schema, label), decode_batches(rows, count, title))


def _batch_size(path: Path, metadata: pq.FileMetaData) -> int:
    """Return how many rows to decompress at once. Raises ValueError for a file that would fill memory or disk.

    A row that stands once in a dictionary may stand in thousands of rows: none is larger than its row group.
    """
    size = path.stat().st_size
    groups = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    if sum(groups) > RATIO * size + FREE or metadata.num_rows * ROW > size:
        raise ValueError(
            f"{printable(path)}: its {size:,} bytes become {sum(groups):,} in {metadata.num_rows:,} rows, which no "
            "encoded images do"
        )
    return max(1, min(BATCH, LARGEST_BATCH // max(1, *groups)))


def _rows(
    path: Path, file: pq.ParquetFile, image: str, label: str | None, digest: str, batch_size: int
) -> Iterator[Encoded]:
    batches = file.iter_batches(batch_size=batch_size, columns=[image] if label is None else [image, label])
    row = 0
    while True:
        with _readable(path):
            batch = next(batches, None)
            if batch is None:
                break
            # A struct that is null as a whole keeps no meaningful bytes, hence through Python and not column.field.
            data = [None if value is None else value["bytes"] for value in batch.column(image).to_pylist()]
            labels = [None] * len(data) if label is None else batch.column(label).to_pylist()
        for encoded, known in zip(data, labels, strict=True):
            where = f"{printable(path)}, row {row}"
            yield Encoded(encoded, _checked_label(known, where), where)
            row += 1
    if file_sha256(path) != digest:  # else another file's images would be cached under this digest
        raise ValueError(f"{printable(path)} changed while it was read; start again")


def _checked_label(label: int | None, where: str) -> int:
    if label is None:
        return UNKNOWN
    if not UNKNOWN <= label <= LARGEST_LABEL:
        raise ValueError(
            f"{where}: the label {label} is none: classes count from 0 up, {UNKNOWN} or null is an unknown class"
        )
    return label


def _columns(path: Path, schema: pa.Schema) -> tuple[str, str | None]:
    """Return the names of the image column and of the label column, if there is one."""
    names: list[str] = schema.names
    images = [field.name for field in schema if _has_bytes(field.type)]
    if not images:
        raise ValueError(f"{printable(path)}: no struct column with a binary field `bytes` among the columns {names}")
    labels = [field.name for field in schema if types.is_integer(field.type)]
    label = next((name for name in ("fine_label", "label") if name in labels), None)
    if twice := [name for name in (images[0], label) if name and names.count(name) > 1]:
        raise ValueError(f"{printable(path)}: more than one column is called {twice[0]}; keep one of them")
    return images[0], label


def _has_bytes(kind: pa.DataType) -> bool:
    """Return True for a struct with a binary field `bytes`."""
    parts = [kind.field(i) for i in range(kind.num_fields)] if types.is_struct(kind) else []
    return any(
        part.name == "bytes" and (types.is_binary(part.type) or types.is_large_binary(part.type)) for part in parts
    )


def _classes(path: Path, schema: pa.Schema, label: str | None) -> tuple[str, ...]:
    """Read them from the metadata: `classes`, separated by commas, or the features that the datasets library writes."""
    metadata = schema.metadata or {}
    try:
        if listed := metadata.get(b"classes"):
            return tuple(listed.decode().split(","))
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = features.get(label, {}).get("names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError("the names are no list of strings")
        "".join(names).encode()  # raises for half a surrogate pair, which no file and no terminal accepts
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{printable(path)}: the class names in its metadata cannot be read ({error}); write the file again "
            "without the key `huggingface`, or with `classes`: the names, separated by commas"
        ) from error
    return tuple(names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise ValueError, with the file, for what pyarrow raises over a damaged or unusual file."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{printable(path)} ({path.stat().st_size} bytes) is not a whole parquet file: {reason}; fetch it again"
        ) from error
