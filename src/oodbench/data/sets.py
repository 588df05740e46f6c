"""The sets of one run: checked against each other, cut to the limits."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.data.images import side
from oodbench.data.overlap import MAX_OF_OOD, MAX_OF_TEST, check_overlap, warn_of_copies
from oodbench.data.split import UNKNOWN, Split, balanced_rows, balanced_subset, rows_of, spaced_subset

FEW = 30  # images, of which a bootstrap interval is too narrow
log = logging.getLogger(__name__)


class DataSplits(NamedTuple):
    """Every set of a run."""

    train: Split
    test: Split
    ood: dict[str, Split]
    validation: dict[str, Split]  # "val", held out of the training set, and "val_ood"; empty where nothing is held out

    @property
    def by_name(self) -> dict[str, Split]:
        """{name: set}, "train" and "test" first"""
        return {"train": self.train, "test": self.test, **self.ood, **self.validation}

    @property
    def sizes(self) -> dict[str, int]:
        """{name: number of images}"""
        return {name: len(split.labels) for name, split in self.by_name.items()}


class Limits(NamedTuple):
    """Numbers of images that a run takes of its sets; None: all."""

    train: int | None = None  # balanced over the classes (see `balanced_subset`)
    test: int | None = None  # balanced; of each OOD set at most as many, evenly spaced: its classes do not matter
    held_out: int = 0  # of the training set, the last of each class: the validation set


NO_LIMITS = Limits()


def data_splits(
    train: Split,
    test: Split,
    ood: Mapping[str, Split],
    num_classes: int,
    limits: Limits = NO_LIMITS,
    val_ood: Split | None = None,
    allow_overlap: bool = False,
) -> DataSplits:
    """Check the sets of one run against each other and cut them to the limits; `val_ood`: of the validation set.

    The complete sets are compared, before they are cut: a test set that is the training set, or shares more than 0.5 %
    of its images with it, is refused unless `allow_overlap`, and so is an OOD set with more than 0.1 % of either's.

    Raises ValueError, with the set's name, for arrays of another shape or type, a label outside [0, num_classes), a
    class without an image, classes that are not the same in train and test, an OOD set without an image or twice, a
    limit that cannot be met, a validation set that is reported, sets that overlap.
    """
    _check_known("train", train, num_classes)
    _check_known("test", test, num_classes)
    check_classes(train, test)
    _check_ood_sets(ood, val_ood)
    _check_overlaps(train, test, ood, val_ood, allow_overlap)
    train, val = _hold_out(train, limits.held_out, num_classes) if limits.held_out else (train, None)
    if limits.train is not None:
        train = balanced_subset(train, limits.train, num_classes, "train")
    if limits.test is not None:
        test = balanced_subset(test, limits.test, num_classes, "test")
        ood = {name: spaced_subset(split, limits.test) for name, split in ood.items()}
        val_ood = spaced_subset(val_ood, limits.test) if val_ood else None
    validation = {name: split for name, split in (("val", val), ("val_ood", val_ood)) if split}
    return DataSplits(train, test, dict(ood), validation)


def _hold_out(split: Split, n: int, num_classes: int) -> tuple[Split, Split]:
    """Return the rest, and the last n / K images of each class, which do not depend on a limit of training images."""
    backwards = np.arange(len(split.labels))[::-1]
    last = backwards[balanced_rows(split.labels[backwards], n, num_classes, "validation")]
    rest = np.setdiff1d(backwards, last)
    _check_labels(f"train without the {n} images held out", split.labels[rest], num_classes)
    return rows_of(split, rest), rows_of(split, np.sort(last))


def _check_known(name: str, split: Split, num_classes: int) -> None:
    _check_arrays(name, split)
    _check_labels(name, split.labels, num_classes)


def _check_ood_sets(ood: Mapping[str, Split], val_ood: Split | None) -> None:
    names: dict[str, str] = {}
    for name, split in ood.items():
        _check_ood(f"OOD set {name}", split)
        if (other := names.setdefault(split.digest, name)) != name:
            raise ValueError(f"the OOD sets {other} and {name} are the same images, which means would count twice")
        if val_ood and split.digest == val_ood.digest:
            raise ValueError(
                f"the OOD set {name} is reported, so nothing may be chosen on it: leave it out of ood=[...]"
            )
    if val_ood:
        _check_ood("the validation OOD set", val_ood)


def _check_ood(name: str, split: Split) -> None:
    _check_arrays(name, split)
    if len(split.images) == 0:
        raise ValueError(f"{name} has no image")
    if len(split.images) < FEW:
        log.warning("%s has %d images: its intervals and tests say little", name, len(split.images))
    warn_of_copies(name, split)


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
        from_where = f"; {UNKNOWN} is an unknown class: null, or no column `label` or `fine_label` of whole numbers"
        unknown = from_where if labels[row] == UNKNOWN else ""
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
    check_overlap({"the training set": train}, {"the test set": test}, allow_overlap, MAX_OF_TEST)
    reported = {f"the OOD set {name}": split for name, split in ood.items()}
    validation = {"the validation OOD set": val_ood} if val_ood else {}
    check_overlap({"the training set": train, "the test set": test}, reported | validation, allow_overlap, MAX_OF_OOD)
    check_overlap(reported, validation, allow_overlap, MAX_OF_OOD)
