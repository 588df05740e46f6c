"""Overrides, checked as the command line does it."""

from typing import Any

from helpers.config import composed
from omegaconf import OmegaConf

from oodbench.cli.overrides import check_choices, check_key, is_choice, parse

DEFAULTS: Any = OmegaConf.to_container(composed("dataset=digits", "recipe=smoke", "loss=focal"), resolve=False)


def check_text(text: str) -> None:
    """Raise UsageError where the override is none that a run could have. Only where Hydra is initialised."""
    (override,) = parse([text])
    check_choices(override)
    if not is_choice(override):
        check_key(override, DEFAULTS)
