"""A run's config.yaml, read as plain data: whoever wrote it is not trusted."""

from pathlib import Path
from typing import Any

import yaml

from oodbench.runs.identity import Config
from oodbench.storage import regular

LARGEST = 100_000  # characters
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C takes an eighth of the time


def read_config(path: Path) -> Config:
    """Read a run's config.yaml as plain data. Raises ValueError naming the file where it is no such thing.

    Nothing in it is trusted: aliases, tags and interpolations (`${...}`) are refused.
    """
    try:
        text = regular(path).read_text("utf-8")
        if len(text) > LARGEST:
            raise ValueError(f"{len(text)} characters; at most {LARGEST} are read")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=Loader)):
            raise ValueError("it has a YAML alias")
        config = yaml.load(text, Loader)
        if not isinstance(config, dict):
            raise ValueError(f"it holds {type(config).__name__} and no configuration")
        if "${" in text:
            raise ValueError("it has an interpolation ${...}; a run's configuration is resolved")
        return config
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
