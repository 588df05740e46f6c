"""Images that a text file lists, `path label` a line: the format of OpenOOD v1.5's image lists."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from oodbench.data.classes import check_is_list, check_some_left, excluded_numbers
from oodbench.data.files import printable, source_path
from oodbench.data.listing import read_files
from oodbench.data.split import UNKNOWN, Split

LARGEST = 1 << 28  # bytes; a larger file is not a list
BENCHMARK = ("benchmark_imglist", "images_classic")  # OpenOOD v1.5's folders of lists and of images


class Line(NamedTuple):
    """A line of an image list."""

    name: str  # of the image, relative to the folder
    label: int  # UNKNOWN where the list says -1


def imglist(list: str | Path, root: str | Path, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read the images at root/<path> of every line `path label` of a text file, in its order; -1 is no known class.

    exclude_classes: labels, or names of the folders that the images lie in.

    Raises FileNotFoundError for a missing list, folder or image; ValueError, with the line, for one that is not
    `path label`, for a class that is not there, and for an image that does not decode.
    """
    file, folder = source_path(list), source_path(root)
    lines = _without(exclude_classes, _lines(file), printable(file))
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder at {printable(folder)}, where the images of {printable(file)} are looked for"
        )
    missing = [line.name for line in lines if not (folder / line.name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{printable(file)} lists {len(missing)} images (of {len(lines)}) that are not below {printable(folder)}, "
            f"for example {missing[0]}; add them, or name the folder that the paths begin in as `root`"
        )
    return read_files(folder, [line.name for line in lines], [line.label for line in lines])


def openood(root: str | Path, list: str, exclude_classes: Sequence[str | int] = ()) -> Split:
    """Read a list of OpenOOD v1.5 (Zhang et al., 2023): root/benchmark_imglist/<list> over root/images_classic."""
    lists, images = (source_path(name, root) for name in BENCHMARK)
    return imglist(source_path(list, lists), images, exclude_classes)


def _lines(file: Path) -> list[Line]:
    if not file.is_file():
        raise FileNotFoundError(f"no list of images at {printable(file)}: expected a text file with `path label` lines")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"{printable(file)}: {file.stat().st_size} bytes are no list of images")
    texts = file.read_text("utf-8", "surrogateescape").split("\n")
    lines = [_line(text, f"{printable(file)}, line {row}") for row, text in enumerate(texts, 1) if text.strip()]
    if not lines:
        raise ValueError(f"{printable(file)}: no line in this list of images")
    return lines


def _line(text: str, where: str) -> Line:
    name, _, label = text.strip().rpartition(" ")
    try:
        number = int(label)
    except ValueError:
        number = UNKNOWN - 1
    if not name or number < UNKNOWN:
        few = text if len(text) < 100 else f"{text[:100]}..."
        raise ValueError(f"{where}: {few!r} is not `path label` with a label from 0 on, or -1 for no known class")
    return Line(name.rstrip(), number)


def _without(excluded: Sequence[str | int], lines: list[Line], where: str) -> list[Line]:
    """Return the lines of the other classes; an image's folder is the name of its class."""
    if not excluded:
        return lines
    check_is_list(excluded, where)
    folders = sorted({_folder(line) for line in lines})
    names = {each for each in excluded if isinstance(each, str)}
    excluded_numbers(sorted(names), folders, range(len(folders)), where)  # or an error
    numbers = excluded_numbers([each for each in excluded if each not in names], (), {x.label for x in lines}, where)
    kept = [line for line in lines if _folder(line) not in names and line.label not in numbers]
    check_some_left(len(kept), where)
    return kept


def _folder(line: Line) -> str:
    return PurePosixPath(line.name).parent.name
