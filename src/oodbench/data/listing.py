"""Image files below one folder, read in the order of a list."""

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from oodbench.data.cache import Decoded, cached
from oodbench.data.files import file_sha256, printable
from oodbench.data.images import Encoded, decode_batches
from oodbench.data.split import UNKNOWN, Split


def read_files(
    root: Path, names: Sequence[str], labels: Sequence[int] | None = None, classes: tuple[str, ...] = ()
) -> Split:
    """Read the images at root/<name>, in this order.

    The digest is the sha256 of the listing that sha256sum would write of the images, and of the labels and the names
    of the classes where they are given. Raises ValueError for an image that does not decode or changes meanwhile.
    """
    digests = [file_sha256(root / name) for name in names]
    listing = b"".join(_line(name, digest) for name, digest in zip(names, digests, strict=True))
    if labels is not None:
        numbers = " ".join(map(str, labels))
        listing = b"\0".join([listing, numbers.encode(), *map(os.fsencode, classes)])
    known = [UNKNOWN] * len(names) if labels is None else labels
    rows = (
        Encoded(root / name, label, printable(root / name), digest)
        for name, label, digest in zip(names, known, digests, strict=True)
    )
    count, title = len(names), printable(Path(root.name))
    return cached(sha256(listing).hexdigest(), lambda: Decoded(count, classes, decode_batches(rows, count, title)))


def _line(name: str, digest: str) -> bytes:
    """Return one line as sha256sum writes it: a name with a line break must not pass for two lines."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return ("" if escaped == name else "\\").encode() + f"{digest}  ".encode() + os.fsencode(escaped) + b"\n"
