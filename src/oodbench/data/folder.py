"""A folder of images, at any depth; and one whose subfolders are classes."""

from collections.abc import Iterator, Sequence
from errno import ELOOP, ENOENT
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from oodbench.data.classes import check_some_left, excluded_numbers
from oodbench.data.files import printable, source_path
from oodbench.data.listing import read_files
from oodbench.data.parquet import parquet
from oodbench.data.split import Split

SUFFIXES = {".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"}
SUFFIXES |= {".webp"}
MAX_BYTES = 1 << 30  # of one file; a larger one is no image, and its digest alone would take seconds to hours


def folder(path: str | Path, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read all images below `path`, sorted by their relative path; without labels, so only for an OOD set.

    Regular files alone are read. Links are followed, but no folder is entered twice, nor one that `path` lies in.
    Hidden files and folders, and files without the suffix of an image, are passed over. The digest is the sha256 of the
    listing that sha256sum would write of the images.

    exclude_classes: folders directly below `path`, by name or by their number in alphabetical order.

    Raises FileNotFoundError, and ValueError for a folder without an image, a link to nothing, a folder that cannot be
    read, a class that is not there, or an image that does not decode.
    """
    path, names = _listed(path)
    classes = sorted({_top(name) for name in names} - {""})
    excluded = excluded_numbers(exclude_classes, classes, range(len(classes)), printable(path))
    left_out = {classes[number] for number in excluded}
    kept = [name for name in names if _top(name) not in left_out]
    check_some_left(len(kept), printable(path))
    return read_files(path, kept)


def class_folder(root: str | Path, split: str) -> Split:
    """Read the images below root/<split>/<class>/, the classes in alphabetical order, as torchvision's ImageFolder.

    Raises FileNotFoundError and ValueError as `folder`, and ValueError for a class without an image and for an image
    outside the folders of classes.
    """
    path = source_path(split, root)
    if not path.is_dir():
        raise FileNotFoundError(
            f"no folder at {printable(path)}: a set to learn is <path>/train/<class>/<image> and "
            "<path>/test/<class>/<image>; dataset.path=... names another, dataset.test.split=val reads <path>/val"
        )
    path, names = _listed(path)
    if stray := [name for name in names if not _top(name)]:
        raise ValueError(
            f"{printable(path / stray[0])} lies in no class's folder, as {len(stray)} images of {printable(path)} do; "
            f"a set to learn has one folder for each class: {printable(path)}/<class>/<image>"
        )
    classes = tuple(sorted({_top(name) for name in names}))
    folders = {each.name for each in path.iterdir() if each.is_dir() and not each.name.startswith(".")}
    if empty := sorted(folders - set(classes)):
        few = ", ".join(printable(Path(name)) for name in empty[:5])
        raise ValueError(f"{printable(path)}: no image in the folder of a class ({few}); fill it or remove it")
    numbers = {name: number for number, name in enumerate(classes)}
    return read_files(path, names, [numbers[_top(name)] for name in names], classes)


def from_path(path: str | Path, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read a custom set: a parquet file or a folder of images, whichever is at the path."""
    if source_path(path).is_dir():
        return folder(path, exclude_classes)
    return parquet(path, exclude_classes=exclude_classes)


def _listed(path: str | Path) -> tuple[Path, list[str]]:
    """Return the folder and its images, sorted, as paths relative to it."""
    path = source_path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no folder of images at {printable(path)}")
    names = sorted(_images(path))
    if not names:
        raise ValueError(f"{printable(path)}: no image below this folder (looked for {', '.join(sorted(SUFFIXES))})")
    return path, names


def _top(name: str) -> str:
    """Return the first folder of a relative path; "" for a file without one."""
    parts = PurePosixPath(name).parts
    return parts[0] if len(parts) > 1 else ""


def _images(path: Path) -> Iterator[str]:
    """Yield the images' paths relative to `path`."""
    seen = {_identity(parent) for parent in path.resolve().parents}
    folders = [path]
    while folders:
        folder = folders.pop(0)
        if _identity(folder) in seen:
            continue
        seen.add(_identity(folder))
        images, inside, links = _contents(folder)
        yield from (image.relative_to(path).as_posix() for image in images)
        folders = inside + folders + links  # links last: an image is listed under its own path, not under a link's


def _identity(folder: Path) -> tuple[int, int]:
    """Return the same pair for every path that leads to this folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _contents(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the images in a folder, its subfolders, and its links to folders; each sorted by name.

    Raises ValueError for an image that is a link to nothing or larger than MAX_BYTES, and for what may not be read.
    """
    images: list[Path] = []
    inside: list[Path] = []
    links: list[Path] = []
    for path in _sorted(folder):
        if path.name.startswith("."):  # such as what a notebook or a file manager leaves
            continue
        is_wanted = path.suffix.lower() in SUFFIXES
        try:
            status = path.stat()
        except OSError as error:
            if not is_wanted and error.errno in (ENOENT, ELOOP):  # a link to nothing that is no image
                continue
            raise ValueError(f"{printable(path)} cannot be read: {error.strerror}; mend or remove it") from error
        if S_ISDIR(status.st_mode):
            (links if path.is_symlink() else inside).append(path)
        elif is_wanted and S_ISREG(status.st_mode):  # reading a FIFO or a device would never end
            if status.st_size > MAX_BYTES:
                raise ValueError(f"{printable(path)}: {status.st_size} bytes are no image; remove the file")
            images.append(path)
    return images, inside, links


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{printable(folder)} cannot be read: {error.strerror}; mend or remove it") from error
