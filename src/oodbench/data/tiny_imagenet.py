"""Tiny ImageNet's validation set, as a parquet file or as its authors publish it: one zip archive, or its folder."""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from oodbench.data.cache import Decoded, cached
from oodbench.data.classes import without_classes
from oodbench.data.download import Archive, check_md5, find_or_download
from oodbench.data.files import file_sha256, printable, source_path
from oodbench.data.images import Encoded, decode_batches
from oodbench.data.listing import read_files
from oodbench.data.parquet import parquet_below
from oodbench.data.split import Split

# The authors' address; they give no digest: this one is what other projects check.
ARCHIVE = Archive(
    "tiny_imagenet", "test", "http://cs231n.stanford.edu/tiny-imagenet-200.zip", "tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de", "tiny-imagenet-200",
)  # fmt: skip
WNIDS, WORDS, LABELS = "wnids.txt", "words.txt", "val/val_annotations.txt"  # files of the archive


class Index(NamedTuple):
    """The images of a split and their labels, as the archive's text files list them."""

    names: list[str]  # of the images, relative to the archive's folder
    labels: list[int]
    classes: tuple[str, ...]


def tiny_imagenet(root: str | Path, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read Tiny ImageNet's validation set (Le and Yang, 2015): 10,000 images of 200 classes, 64x64.

    Looked for as root/tiny_imagenet/test.parquet, then as tiny-imagenet-200.zip or the folder tiny-imagenet-200, in
    root/ and root/tiny_imagenet/; else downloaded to root/tiny_imagenet/. exclude_classes: names such as goldfish, the
    first of each class in words.txt, or numbers in the order of the WordNet identifiers. Raises as `folder` and `svhn`.
    """
    read = parquet_below(root, "tiny_imagenet", "test") or _read(source_path(root))
    return without_classes(read, exclude_classes, "tiny_imagenet")


def _read(root: Path) -> Split:
    place = find_or_download(root, ARCHIVE)
    if place.is_dir():
        index = _index(lambda name: _text(place / name), place)
        return read_files(place, *index)
    return cached(sha256(f"val {file_sha256(place)}".encode()).hexdigest(), lambda: _decode(place))


def _text(file: Path) -> str:
    if not file.is_file():
        raise FileNotFoundError(
            f"{printable(file)} is missing: the folder is not as the archive {ARCHIVE.file} holds it; "
            "+ood.<name>.path=... reads another kind of folder"
        )
    return file.read_text("utf-8")


def _decode(file: Path) -> Decoded:
    check_md5(file, ARCHIVE.md5)
    with zipfile.ZipFile(file) as archive:
        index = _index(lambda name: archive.read(f"{ARCHIVE.folder}/{name}").decode("utf-8"), file)
    count = len(index.names)
    return Decoded(count, index.classes, decode_batches(_rows(file, index), count, ARCHIVE.name))


def _rows(file: Path, index: Index) -> Iterator[Encoded]:
    with zipfile.ZipFile(file) as archive:
        for name, label in zip(index.names, index.labels, strict=True):
            yield Encoded(archive.read(f"{ARCHIVE.folder}/{name}"), label, f"{printable(file)}, {name}")


def _index(read: Callable[[str], str], where: Path) -> Index:
    """Return the validation images with their labels; read: the text of one of the archive's files."""
    wnids = sorted(read(WNIDS).split())
    words = dict(line.split("\t", 1) for line in read(WORDS).splitlines())
    classes = tuple(words[wnid].split(",")[0].strip() for wnid in wnids)
    numbers = {wnid: number for number, wnid in enumerate(wnids)}
    lines = [line.split("\t") for line in read(LABELS).splitlines()]
    if unknown := sorted({wnid for _, wnid, *_ in lines} - numbers.keys()):
        raise ValueError(f"{printable(where)}: {LABELS} has the class {unknown[0]}, which {WNIDS} does not list")
    names = [f"val/images/{name}" for name, *_ in lines]
    return Index(names, [numbers[wnid] for _, wnid, *_ in lines], classes)
