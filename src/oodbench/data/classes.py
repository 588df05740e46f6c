"""Classes that are left out of a set, such as those that an OOD set shares with the set to learn."""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from hashlib import sha256

import numpy as np

from oodbench.data.split import UNKNOWN, Split


def without_classes(split: Split, excluded: Sequence[str | int], where: str) -> Split:
    """Return the set without the images of some classes, in file order.

    Raises ValueError, with the place of the set, for a class that it does not have, and where no image is left.
    """
    if not excluded:
        return split
    known = set(np.unique(split.labels).tolist()) - {UNKNOWN}
    numbers = sorted(excluded_numbers(excluded, split.classes, known, where))
    keep = ~np.isin(split.labels, numbers)
    check_some_left(int(keep.sum()), where)
    digest = sha256(f"{split.digest} without classes {numbers}".encode()).hexdigest()
    return split._replace(images=split.images[keep], labels=split.labels[keep], digest=digest)


def excluded_numbers(
    excluded: Sequence[str | int], classes: Sequence[str], known: Collection[int], where: str
) -> set[int]:
    """Return the numbers of classes that are given by name or number; all classes of one name are meant by it.

    classes: names in the order of the numbers, empty where they are not known. known: numbers that have images. Raises
    ValueError for a number that is the name of another class.
    """
    check_is_list(excluded, where)
    numbers: set[int] = set()
    for each in excluded:
        named = {number for number, name in enumerate(classes) if name == str(each)}
        found = named if isinstance(each, str) else {each}
        if named - found:
            raise ValueError(
                f"{where}: exclude_classes has {each}, but the class called {each} is not number {each}; give its name "
                f"in quotes, ['{each}']"
            )
        if not found.intersection(known):
            raise ValueError(f"{where}: exclude_classes has {each}, of which there is no image; {_hint(each, classes)}")
        numbers |= found
    return numbers


def check_is_list(excluded: Sequence[str | int], where: str) -> None:
    """Raise ValueError unless it is a list of names and numbers; the letters of a string would pass for names."""
    if not isinstance(excluded, list | tuple) or not all(type(each) in (str, int) for each in excluded):
        raise ValueError(f"{where}: exclude_classes={excluded} is no list of names and numbers, as [cat,3] is one")


def check_some_left(count: int, where: str) -> None:
    """Raise ValueError where all classes were excluded."""
    if not count:
        raise ValueError(f"{where}: exclude_classes leaves no image; keep a class")


def _hint(excluded: str | int, classes: Sequence[str]) -> str:
    if not classes:
        return "the names of its classes are not known; give numbers of classes that it has"
    close = get_close_matches(str(excluded), classes, n=3) or list(classes[:5])
    return f"its {len(classes)} classes are called {', '.join(close)}{', ...' if len(close) < len(classes) else ''}"
