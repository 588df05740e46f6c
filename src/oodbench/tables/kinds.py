"""The kind of an OOD set: near, far, or shifted ID, whose images are of known classes and count for no mean."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

CORRUPTED = {  # {reader of a corrupted test set: that of the set itself}
    "oodbench.data.cifar10c": "oodbench.data.cifar10",
    "oodbench.data.cifar100c": "oodbench.data.cifar100",
}


class Kind(StrEnum):
    """The kinds of OOD sets, in the order of tables."""

    NEAR = "near"
    FAR = "far"
    SHIFTED = "shifted ID"

    @property
    def rank(self) -> int:
        return [*Kind].index(self)


def is_shifted(configured: Any, test: Any) -> bool:
    """Tell from the configurations of an OOD set and of the test set whether both are of the same classes."""
    targets = [each.get("_target_") if isinstance(each, Mapping) else None for each in (configured, test)]
    return targets[0] in CORRUPTED and CORRUPTED[targets[0]] == targets[1]
