"""The kind of an OOD set: near, far, or shifted ID, whose images are of known classes and count for no mean."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

SHIFTED_BY = ("oodbench.data.cifar10c", "oodbench.data.cifar100c")  # readers of corrupted test sets


class Kind(StrEnum):
    """In the order of tables."""

    NEAR = "near"
    FAR = "far"
    SHIFTED = "shifted ID"

    @property
    def rank(self) -> int:
        return [*Kind].index(self)


def is_shifted(configured: Any) -> bool:
    """Tell from an OOD set's configuration whether its images are of the classes to learn."""
    return isinstance(configured, Mapping) and configured.get("_target_") in SHIFTED_BY
