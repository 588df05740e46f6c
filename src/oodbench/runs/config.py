"""A run's config.yaml, read as plain data: whoever wrote it is not trusted."""

from pathlib import Path

import yaml

from oodbench.runs.identity import Config

LARGEST = 100_000  # characters


def read_config(path: Path) -> Config:
    """Read a run's config.yaml as plain data. Raises ValueError naming the file where it is no such thing.

    Nothing in it is trusted: aliases, tags and interpolations (`${...}`) are refused.
    """
    try:
        text = path.read_text("utf-8")
        if len(text) > LARGEST:
            raise ValueError(f"{len(text)} characters; at most {LARGEST} are read")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("it has a YAML alias")
        config = yaml.safe_load(text)
        if not isinstance(config, dict):
            raise ValueError(f"it holds {type(config).__name__} and no configuration")
        if "${" in text:
            raise ValueError("it has an interpolation ${...}; a run's configuration is resolved")
        return config
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
