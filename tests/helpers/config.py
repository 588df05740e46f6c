"""The configuration as the command line composes it."""

from copy import deepcopy
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from oodbench.cli.configuration import CONF, compose, resolve
from oodbench.runs.identity import Config

ROOT = CONF.parent
DIGITS = ("dataset=digits", "recipe=smoke", "loss=ce")


def composed(*overrides: str) -> DictConfig:
    """Return the configuration that `python train.py <overrides>` sees."""
    return compose(overrides)


def configuration(*overrides: str, **values: Any) -> Config:
    """Return the resolved configuration of a run on the digits; values are set in it, `__` between nested keys."""
    config = OmegaConf.create(deepcopy(_configuration(*overrides)))
    for key, value in values.items():
        OmegaConf.update(config, key.replace("__", "."), value, merge=False)
    return OmegaConf.to_container(config)  # type: ignore[return-value]


@cache
def _configuration(*overrides: str) -> Config:
    return resolve(compose((*DIGITS, *overrides)))


def names(group: str) -> list[str]:
    """Return the choices of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))
