"""Absolute paths to a run's images: in another working directory the same relative path means other images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.runs.identity import PLACES, Config


def with_absolute_places(config: Config) -> Config:
    """Return a resolved configuration with absolute paths to its data root and its sets.

    A path below another key's root stays relative, as does one that counts in the run's hash.
    """
    dataset = absolute(config["dataset"], PLACES)
    path, validation = dataset.get("path"), config["validation"]
    return config | {
        "data_root": absolute_path(config["data_root"]),
        "dataset": dataset | ({"path": absolute_path(path)} if isinstance(path, str) else {}),
        "ood": of_sets(config["ood"]),
        "validation": validation | ({"ood": of_sets(validation["ood"])} if "ood" in validation else {}),
    }


def of_sets(sets: Mapping[str, Any]) -> dict[str, Any]:
    """Return {OOD set: its configuration with absolute paths}."""
    return {
        name: absolute(node, PLACES if isinstance(node, Mapping) and "root" in node else (*PLACES, "path"))
        for name, node in sets.items()
    }


def absolute(node: Any, keys: Sequence[str]) -> Any:
    """Return a configuration whose texts under these keys are absolute paths."""
    if not isinstance(node, Mapping):
        return node
    return {
        key: absolute_path(value) if key in keys and isinstance(value, str) else absolute(value, keys)
        for key, value in node.items()
    }


def absolute_path(path: str) -> str:
    return os.path.normpath(Path(path).expanduser().absolute())
