"""Absolute paths to a run's images: in another working directory the same relative path means other images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oodbench.runs.identity import PLACES, Config

IMAGE_LIST = "oodbench.data.imglist"  # the root is that of the images alone: the list lies anywhere


def with_absolute_places(config: Config) -> Config:
    """Return a resolved configuration with absolute paths to its data root and its sets.

    A path below another key's root stays relative, as does one that counts in the run's hash.
    """
    dataset, validation = _absolute(config["dataset"], PLACES), config["validation"]
    if "path" in dataset:
        dataset["path"] = absolute_path(dataset["path"])
    if "ood" in validation:
        validation = validation | {"ood": absolute_set(validation["ood"])}
    return config | {
        "data_root": absolute_path(config["data_root"]),
        "dataset": dataset,
        "ood": absolute_sets(config["ood"]),
        "validation": validation,
    }


def absolute_sets(sets: Mapping[str, Any]) -> Config:
    """Return {OOD set: its configuration with absolute paths}."""
    return {name: absolute_set(node) for name, node in sets.items()}


def absolute_set(node: Any) -> Any:
    """Return the configuration of an OOD set with absolute paths; what lies below a root stays."""
    if not isinstance(node, Mapping):
        return node
    if node.get("_target_") == IMAGE_LIST:
        return _absolute(node, (*PLACES, "list"))
    return _absolute(node, PLACES if "root" in node else (*PLACES, "path"))


def _absolute(node: Any, keys: Sequence[str]) -> Any:
    if not isinstance(node, Mapping):
        return node
    return {key: absolute_path(value) if key in keys else _absolute(value, keys) for key, value in node.items()}


def absolute_path(path: Any) -> Any:
    """Return the path from the root of the file system on; what is no text, or an empty one, as it is."""
    if not isinstance(path, str) or not path:
        return path
    return str((Path(path).expanduser() if path.startswith("~/") else Path(path)).absolute())
