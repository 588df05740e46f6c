"""The configuration as the command line composes it."""

from omegaconf import DictConfig

from oodbench.cli import CONF, compose

ROOT = CONF.parent


def composed(*overrides: str) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` sees."""
    return compose(overrides)


def names(group: str) -> list[str]:
    """Return the choices of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
