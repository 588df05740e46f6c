"""OOD sets that are published as one archive of image files: read where it lies, or downloaded; never extracted.

Addresses and md5 digests of Textures and Places365 are torchvision's, read from its classes. LSUN and iSUN are at the
links of ODIN's authors (Liang et al., 2018, github.com/facebookresearch/odin), who give no digests; those here are the
ones that other projects check.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from oodbench.data.cache import Decoded, cached
from oodbench.data.classes import without_classes
from oodbench.data.download import Archive, check_md5, find_or_download
from oodbench.data.files import file_sha256, printable, source_path
from oodbench.data.folder import SUFFIXES, class_folder, folder
from oodbench.data.images import Encoded, decode_batches
from oodbench.data.parquet import parquet_below
from oodbench.data.split import UNKNOWN, Split

WHOLE = {"textures": 5640, "places365": 36_500, "lsun_crop": 10_000, "lsun_resize": 10_000, "isun": 8925}  # images
ODIN = "https://www.dropbox.com/s/raw"
LSUN_CROP = Archive(
    "lsun_crop", "test", f"{ODIN}/fhtsw1m3qxlwj6h/LSUN.tar.gz", "LSUN.tar.gz",
    "458a0a0ab8e5f1cb4516d7400568e460", "LSUN/test",
)  # fmt: skip
LSUN_RESIZE = Archive(
    "lsun_resize", "test", f"{ODIN}/moqh2wh8696c3yl/LSUN_resize.tar.gz", "LSUN_resize.tar.gz",
    "278b7b31c8cb7e804a1465a8ce03a2dc", "LSUN_resize",
)  # fmt: skip
ISUN = Archive(
    "isun", "test", f"{ODIN}/ssz7qxfqae0cca5/iSUN.tar.gz", "iSUN.tar.gz",
    "be77b0f2c26fda898afac5f99645ee70", "iSUN/iSUN_patches",
)  # fmt: skip


def textures(root: str | Path, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read Describable Textures, DTD (Cimpoi et al., 2014): all 5,640 images of 47 classes, as the field uses it.

    Looked for as root/textures/test.parquet, then as the official archive or the folder dtd/images that it holds, in
    root/, root/textures/ and root/dtd/; else downloaded to root/textures/. exclude_classes: names, or numbers in
    alphabetical order. Raises as `folder` and `svhn`.
    """
    read = _whole("textures", parquet_below(root, "textures", "test") or _textures(source_path(root)))
    return without_classes(read, exclude_classes, "textures")


def places365(root: str | Path) -> Split:
    """Read Places365's validation set (Zhou et al., 2017): 36,500 images of 256x256 pixels, without labels.

    Looked for as root/places365/test.parquet, then as val_256.tar or the folder val_256 that it holds, in root/ and
    root/places365/; else downloaded to root/places365/. Raises as `folder` and `svhn`.
    """
    return _whole("places365", parquet_below(root, "places365", "test") or _places365(source_path(root)))


def lsun_crop(root: str | Path) -> Split:
    """Read LSUN's test images (Yu et al., 2015), 32x32 crops: 10,000 (ODIN's, LSUN-C).

    Looked for as root/lsun_crop/test.parquet, then as LSUN.tar.gz or the folder LSUN/test that it holds, in root/ and
    root/lsun_crop/; else downloaded to root/lsun_crop/. Raises as `folder` and `svhn`.
    """
    return _whole("lsun_crop", parquet_below(root, "lsun_crop", "test") or _read(source_path(root), LSUN_CROP))


def lsun_resize(root: str | Path) -> Split:
    """Read LSUN's test images resized to 32x32: 10,000 (ODIN's, LSUN-R). Found as `lsun_crop`: LSUN_resize.tar.gz."""
    return _whole("lsun_resize", parquet_below(root, "lsun_resize", "test") or _read(source_path(root), LSUN_RESIZE))


def isun(root: str | Path) -> Split:
    """Read iSUN (Xu et al., 2015), resized to 32x32: 8,925 images (ODIN's). Found as `lsun_crop`, in iSUN.tar.gz."""
    return _whole("isun", parquet_below(root, "isun", "test") or _read(source_path(root), ISUN))


def _textures(root: Path) -> Split:
    from torchvision.datasets import DTD

    file = PurePosixPath(DTD._URL).name
    archive = Archive("textures", "test", DTD._URL, file, DTD._MD5, "dtd/images", homes=("", "dtd"))
    return _read(root, archive, has_classes=True)


def _places365(root: Path) -> Split:
    from torchvision.datasets import Places365

    file, digest = Places365._IMAGES_META["val", True]  # "small": 256x256 pixels
    return _read(root, Archive("places365", "test", Places365._BASE_URL + file, file, digest, "val_256"))


def _read(root: Path, archive: Archive, has_classes: bool = False) -> Split:
    place = find_or_download(root, archive)
    if place.is_dir():
        return class_folder(place.parent, place.name) if has_classes else folder(place)
    return cached(file_sha256(place), lambda: _decode(place, archive, has_classes))


def _whole(name: str, split: Split) -> Split:
    """Return the split. Raises ValueError where it has another number of images than the published set.

    An archive's digest vouches for it; a folder may be half extracted, and a Parquet file a sample.
    """
    if len(split.images) != WHOLE[name]:
        raise ValueError(
            f"{name} has {len(split.images):,} images here and {WHOLE[name]:,} as published: complete it, or read a "
            "part under a name of its own by +ood.<name>.path=FOLDER_OR_PARQUET_FILE"
        )
    return split


def _decode(file: Path, archive: Archive, has_classes: bool) -> Decoded:
    """Decode in the archive's order: a compressed one can only be read from its beginning."""
    check_md5(file, archive.md5)
    with tarfile.open(file) as tar:
        names = [name for member in tar if (name := _image_name(member, archive))]
    if not names:
        raise ValueError(f"{printable(file)}: no image in the archive's folder {archive.folder}")
    classes = tuple(sorted({name.parts[0] for name in names})) if has_classes else ()
    numbers = {name: number for number, name in enumerate(classes)}
    rows = _rows(file, archive, numbers)
    return Decoded(len(names), classes, decode_batches(rows, len(names), archive.name))


def _rows(file: Path, archive: Archive, numbers: Mapping[str, int]) -> Iterator[Encoded]:
    """Yield the images; numbers: of the classes, by their folders' names."""
    with tarfile.open(file) as tar:
        for member in tar:
            name = _image_name(member, archive)
            content = tar.extractfile(member) if name else None
            if name and content:
                label = numbers.get(name.parts[0], UNKNOWN)
                yield Encoded(content.read(), label, f"{printable(file)}, {member.name}")


def _image_name(member: tarfile.TarInfo, archive: Archive) -> PurePosixPath | None:
    """Return the image's path relative to the archive's folder; None for a member that is not an image."""
    path = PurePosixPath(member.name)
    is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    if not (is_image and member.isfile() and archive.folder and path.is_relative_to(archive.folder)):
        return None
    return path.relative_to(archive.folder)
