"""A run's config.yaml, read as plain data that is not trusted."""

from pathlib import Path
from typing import Any

import yaml

from oodbench.runs.identity import Config
from oodbench.storage import reason_of, regular

LARGEST = 100_000  # characters
DEEPEST = 50  # collections in one another
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes an eighth of the time


def read_config(path: Path) -> Config:
    """Read a run's config.yaml as plain data. Raises ValueError, naming the file, if it is not one.

    Nothing in it is trusted: aliases, tags and interpolations (`${...}`) are refused.
    """
    try:
        with regular(path).open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"more than {LARGEST} characters")
        _check_events(text)
        config = yaml.load(text, Loader)
        if not isinstance(config, dict):
            raise ValueError(f"it holds {type(config).__name__} and no configuration")
        if _has_interpolation(config):
            raise ValueError("it has an interpolation ${...}; a run's configuration is resolved")
        return config
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(reason_of(path, error)) from error


def _check_events(text: str) -> None:
    """Raise ValueError for an alias, which may stand for gigabytes, and for nesting that takes a parser minutes."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has a YAML alias")
        if depth > DEEPEST:
            raise ValueError(f"it is nested more than {DEEPEST} deep")


def _has_interpolation(node: Any) -> bool:
    """Tell whether a text in it has one, however YAML spelt it."""
    if isinstance(node, dict):
        return any(_has_interpolation(each) for pair in node.items() for each in pair)
    if isinstance(node, list):
        return any(_has_interpolation(each) for each in node)
    return isinstance(node, str) and "${" in node
