"""Parquet files in the layout of the Hugging Face mirrors: a struct column with the encoded image, an integer label."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from oodbench.data.cache import Decoded, cached, sha256
from oodbench.data.images import BATCH, Encoded, decoded
from oodbench.data.split import UNKNOWN, Split

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def parquet(path: str | Path, root: str | Path = "") -> Split:
    """The images of one parquet file, in row order; a relative path is one below `root`.

    The image column is the first struct column with a binary field `bytes`; the label is `fine_label`, else `label`,
    else unknown. A SHA256SUMS file beside the file, or up to two folders above it, that lists it must agree.

    Raises FileNotFoundError, and ValueError with the file for: a digest that does not agree, a file that is not whole,
    no image column, an image that does not decode (with its row).
    """
    path = Path(root, Path(path).expanduser())
    if not path.is_file():
        raise FileNotFoundError(
            f"no parquet file at {path}: expected one row per image, the encoded image in the `bytes` field of a "
            "struct column, as in the Hugging Face mirrors. No command of this project fetches it: put it there, or "
            "name a file or folder of your own, +ood.<name>.path=..."
        )
    digest = sha256(path)
    _check_listed(path, digest)
    return cached(digest, lambda: _decoded(path))


def _decoded(path: Path) -> Decoded:
    import pyarrow.parquet as pq

    with _readable(path):
        file = pq.ParquetFile(path)
    schema, count = file.schema_arrow, file.metadata.num_rows
    if count == 0:
        raise ValueError(f"{path}: no rows")
    image, label = _columns(path, schema)
    rows = _rows(path, file, image, label)
    return Decoded(count, _classes(schema, label), decoded(rows, count, f"{path.parent.name}/{path.name}"))


def _rows(path: Path, file: "pq.ParquetFile", image: str, label: str | None) -> Iterator[Encoded]:
    batches = file.iter_batches(batch_size=BATCH, columns=[image] if label is None else [image, label])
    row = 0
    while True:
        with _readable(path):
            batch = next(batches, None)
        if batch is None:
            return
        column = batch.column(image)
        # A struct that is null as a whole keeps no meaningful bytes, hence through Python and not column.field.
        data = [None if value is None else value["bytes"] for value in column.to_pylist()]
        labels = [None] * len(data) if label is None else batch.column(label).to_pylist()
        for encoded, known in zip(data, labels, strict=True):
            yield Encoded(encoded, UNKNOWN if known is None else known, f"{path}, row {row}")
            row += 1


def _columns(path: Path, schema: "pa.Schema") -> tuple[str, str | None]:
    """The names of the image column and of the label column, if there is one."""
    import pyarrow.types as types

    for field in schema:
        names = [field.type.field(i) for i in range(field.type.num_fields)] if types.is_struct(field.type) else []
        if any(part.name == "bytes" and _is_binary(part.type) for part in names):
            image = field.name
            break
    else:
        raise ValueError(f"{path}: no struct column with a binary field `bytes` among the columns {schema.names}")
    for name in ("fine_label", "label"):
        if name in schema.names and types.is_integer(schema.field(name).type):
            return image, name
    return image, None


def _is_binary(kind: "pa.DataType") -> bool:
    import pyarrow.types as types

    return types.is_binary(kind) or types.is_large_binary(kind)


def _classes(schema: "pa.Schema", label: str | None) -> tuple[str, ...]:
    """From the schema's metadata: `classes`, separated by commas, or the features that the datasets library writes."""
    metadata = schema.metadata or {}
    if b"classes" in metadata:
        return tuple(metadata[b"classes"].decode().split(","))
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return tuple(features.get(label, {}).get("names", ()))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} ({path.stat().st_size} bytes) is not a whole parquet file: {error}") from error


def _check_listed(path: Path, actual: str) -> None:
    path = path.absolute()  # symbolic links stay: the list names the file as it lies here
    for folder in path.parents[:3]:
        sums = folder / "SHA256SUMS"
        if not sums.is_file():
            continue
        name = path.relative_to(folder).as_posix()
        for line in sums.read_text().splitlines():
            expected, _, listed = line.partition(" ")
            if listed.lstrip(" *").removeprefix("./") == name:
                if expected.lower() != actual:
                    raise ValueError(f"{path} is altered or not whole: sha256 {actual}, but {sums} lists {expected}")
                return
