"""The type that every reader returns, and the checked collection of sets that one run needs."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.data.images import side
from oodbench.data.overlap import check_overlap

UNKNOWN = -1  # the label of an image whose class is not known; OOD sets only
RESERVED = ("train", "test", "val", "val_ood")  # names of the outputs of a run's own sets
PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}", re.ASCII)  # names a file in a run's outputs/


class Split(NamedTuple):
    images: NDArray[np.uint8]  # (N, S, S, 3), RGB, S = 32 if not asked for another; a memory map where cached
    labels: NDArray[np.int64]  # (N,); UNKNOWN only in OOD sets
    digest: str  # sha256 in hex of the file or files that the images were read from
    classes: tuple[str, ...]  # names in the order of the labels; empty where the source gives none


class DataSplits(NamedTuple):
    train: Split
    test: Split
    ood: dict[str, Split]
    validation: dict[str, Split]  # "val", held out of the training set, and "val_ood"; empty where nothing is held out


def data_splits(
    train: Split,
    test: Split,
    ood: Mapping[str, Split],
    num_classes: int,
    limit: int | None,
    limit_test: int | None,
    held_out: int = 0,
    val_ood: Split | None = None,
    allow_overlap: bool = False,
) -> DataSplits:
    """Check the sets of one run against each other and cut them to the limits.

    `held_out` training images, the last of each class, become the validation set; `val_ood` is its OOD set.

    `limit` training images and `limit_test` test images are kept, balanced over the classes (see `balanced_subset`);
    of each OOD set at most `limit_test` images, evenly spaced in file order, since its classes do not matter.

    The complete sets are compared, before they are cut: an OOD set that is the training or test set, or shares more
    than 0.1 % of its images with one of them, is refused unless `allow_overlap`.

    Raises ValueError, with the set's name, for arrays of another shape or type, a label outside [0, num_classes), a
    class without an image, classes that are not the same in train and test, an OOD set without an image or with a name
    that is taken or no plain name, a limit that cannot be met, a validation set that is reported, sets that overlap.
    """
    for name, split in (("train", train), ("test", test)):
        _check_arrays(name, split)
        _check_labels(name, split.labels, num_classes)
    check_classes(train, test)
    for name, split in ood.items():
        _check_name(name)
        _check_ood(f"OOD set {name}", split)
        if val_ood and split.digest == val_ood.digest:
            raise ValueError(
                f"the OOD set {name} is reported, so nothing may be chosen on it: leave it out of ood=[...]"
            )
    if val_ood:
        _check_ood("the validation OOD set", val_ood)
    _check_overlaps(train, test, ood, val_ood, allow_overlap)
    train, val = (train, None) if held_out == 0 else _hold_out(train, held_out, num_classes)
    if limit is not None:
        train = balanced_subset(train, limit, num_classes, "train")
    if limit_test is not None:
        test = balanced_subset(test, limit_test, num_classes, "test")
        ood = {name: _spaced(split, limit_test) for name, split in ood.items()}
        val_ood = _spaced(val_ood, limit_test) if val_ood else None
    validation = {name: split for name, split in (("val", val), ("val_ood", val_ood)) if split}
    return DataSplits(train, test, dict(ood), validation)


def balanced_subset(split: Split, n: int, num_classes: int, name: str = "set") -> Split:
    """Keep the first n / K images of each of the K classes, the first n % K classes giving one more; in file order.

    Raises ValueError if n < K or a class has fewer images than its share.
    """
    return _rows(split, balanced_rows(split.labels, n, num_classes, name))


def balanced_rows(labels: NDArray[np.int64], n: int, num_classes: int, name: str) -> NDArray[np.int64]:
    """Return the rows that `balanced_subset` keeps, in ascending order."""
    if n < num_classes:
        raise ValueError(f"{name}: a limit of {n} images leaves some of the {num_classes} classes without one")
    chosen = []
    for k in range(num_classes):
        rows = np.flatnonzero(labels == k)
        share = n // num_classes + (k < n % num_classes)
        if len(rows) < share:
            raise ValueError(
                f"{name}: a limit of {n} images takes {share} of class {k}, which has {len(rows)} "
                f"(the set has {len(labels)} images)"
            )
        chosen.append(rows[:share])
    return np.sort(np.concatenate(chosen))


def _hold_out(split: Split, n: int, num_classes: int) -> tuple[Split, Split]:
    """Return the rest, and the last n / K images of each class, whatever part of the rest is trained on."""
    backwards = np.arange(len(split.labels))[::-1]
    last = backwards[balanced_rows(split.labels[backwards], n, num_classes, "validation")]
    rest = np.setdiff1d(backwards, last)
    _check_labels(f"train without the {n} images held out", split.labels[rest], num_classes)
    return _rows(split, rest), _rows(split, np.sort(last))


def _spaced(split: Split, n: int) -> Split:
    """Keep n images evenly spaced in file order, or all where there are no more than n."""
    return split if n >= len(split.images) else _rows(split, spaced_rows(len(split.images), n))


def spaced_rows(available: int, n: int) -> NDArray[np.int64]:
    """Return n rows of those available, evenly spaced from the first one on; all where there are no more than n."""
    n = min(n, available)
    return np.arange(n) * available // n


def _rows(split: Split, rows: NDArray[np.int64]) -> Split:
    return split._replace(images=split.images[rows], labels=split.labels[rows])


def _check_name(name: str) -> None:
    if name in RESERVED:
        raise ValueError(f"an OOD set cannot be called {name}: outputs of the run's own sets are; choose another name")
    if not PLAIN_NAME.fullmatch(str(name)):
        raise ValueError(
            f"an OOD set cannot be called {name!r}, since its name becomes a file name: use a letter or digit, then up "
            "to 99 letters, digits, dots, hyphens and underscores"
        )


def _check_ood(name: str, split: Split) -> None:
    _check_arrays(name, split)
    if len(split.images) == 0:
        raise ValueError(f"{name} has no image")


def _check_arrays(name: str, split: Split) -> None:
    """Check what a custom reader returns: a mistake here would train on wrong pixels or end in torch."""
    if not isinstance(split, Split):
        raise ValueError(f"{name}: the reader returned {type(split).__name__}, expected oodbench.data.Split")
    expected = (
        ("images", np.uint8, (len(split.images), side(), side(), 3)),
        ("labels", np.int64, (len(split.images),)),
    )
    for field, kind, shape in expected:
        array = getattr(split, field)
        if array.dtype != kind or array.shape != shape:
            raise ValueError(f"{name}: {field} are {array.dtype} {array.shape}, expected {np.dtype(kind)} {shape}")


def _check_labels(name: str, labels: NDArray[np.int64], num_classes: int) -> None:
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(outside):
        row = outside[0]
        unknown = (
            f"; {UNKNOWN} is an unknown class, from null or a missing label column" if labels[row] == UNKNOWN else ""
        )
        raise ValueError(
            f"{name}: the label of row {row} is {labels[row]}, outside the {num_classes} classes "
            f"0..{num_classes - 1} ({len(outside)} such rows{unknown})"
        )
    missing = np.flatnonzero(np.bincount(labels, minlength=num_classes) == 0)
    if len(missing):
        raise ValueError(f"{name}: {len(missing)} of {num_classes} classes have no image: {missing[:10].tolist()}")


def check_classes(train: Split, test: Split) -> None:
    """Raise ValueError where the two sets name different classes, or the same ones in another order."""
    if not train.classes or not test.classes or train.classes == test.classes:
        return
    alone = [sorted(set(a.classes) - set(b.classes)) for a, b in ((train, test), (test, train))]
    if not any(alone):
        raise ValueError(
            "train and test number their classes differently; write one of them again, in the other's order"
        )
    differences = [f"{name}: {', '.join(few)}" for name, few in zip(("train", "test"), alone, strict=True) if few]
    raise ValueError(
        f"train and test have different classes, only in {'; only in '.join(differences)}; both need the same"
    )


def _check_overlaps(
    train: Split, test: Split, ood: Mapping[str, Split], val_ood: Split | None, allow_overlap: bool
) -> None:
    if train.digest == test.digest and not allow_overlap:
        raise ValueError(
            f"the test set is the same set as the training set (digest {test.digest[:12]}); choose another, or measure "
            "nevertheless with allow_overlap=true"
        )
    reported = {f"the OOD set {name}": split for name, split in ood.items()}
    validation = {"the validation OOD set": val_ood} if val_ood else {}
    check_overlap({"the training set": train, "the test set": test}, reported | validation, allow_overlap)
    check_overlap(reported, validation, allow_overlap)
