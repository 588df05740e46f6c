"""Types and ranges of the values that a key may have.

The files below conf/ are the schema: a value is of the type of its default. Hydra alone would take `seed=abc` for a
text.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from oodbench.cli.errors import UsageError

NUMBER = (int, float)
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {  # of a default: in words, what may stand in its place
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (*NUMBER, type(None))),  # null: not at all, as in recipe.clip_grad_norm=null
    str: ("a text", (str,)),
    list: ("a list", (list,)),
    dict: ("a group of keys", (dict,)),
    type(None): ("a number, true, false, a list or null", (*NUMBER, bool, list, type(None))),
}


class Limit(NamedTuple):
    """The values that a key may have, and the words for them."""

    allows: Callable[[Any], bool]
    words: str


def _at_least(low: float) -> Limit:
    return Limit(lambda value: value >= low and math.isfinite(value), f"a number from {low:g} on")


def _above(low: float) -> Limit:
    return Limit(lambda value: value > low and math.isfinite(value), f"a number above {low:g}")


def _within(low: float, high: float) -> Limit:
    return Limit(lambda value: low <= value <= high, f"a number from {low:g} to {high:g}")


def _one_of(*choices: Any) -> Limit:
    known = [json.dumps(choice) for choice in choices]  # in which 1 is not true
    return Limit(lambda value: json.dumps(value) in known, "one of " + ", ".join(known).replace('"', ""))


SEVERAL_TYPES = ("compile", "recipe.flip")  # true, false, or a text
LIMITS = {
    "seed": Limit(lambda value: 0 <= value < 2**63, "a whole number from 0 to 2^63 - 1"),
    "device": Limit(
        lambda value: re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None,
        "one of auto, cpu, mps, cuda, cuda:N",
    ),
    "devices": _at_least(1),
    "runs_per_gpu": _at_least(1),
    "precision": _one_of("auto", "bf16", "fp32", "tf32"),
    "compile": _one_of("auto", False, True, "reduce-overhead", "max-autotune"),
    "threads": _at_least(1),
    "checkpoint_share": _within(0, 1),
    "wandb.mode": _one_of("disabled", "offline", "online"),
    "validation.images": _at_least(0),
    "dataset.size": Limit(lambda value: value in range(8, 1025, 8), "a multiple of 8 from 8 to 1024"),  # data/images.py
    "dataset.num_classes": _at_least(2),
    "dataset.limit": _at_least(1),
    "dataset.limit_test": _at_least(1),
    "backbone.width": _at_least(1),
    "recipe.epochs": _at_least(1),
    "recipe.batch_size": _at_least(1),
    "recipe.optimizer.lr": _at_least(0),
    "recipe.optimizer.momentum": _within(0, 1),
    "recipe.optimizer.weight_decay": _at_least(0),
    "recipe.schedule.final": _within(0, 1),
    "recipe.warmup_epochs": _at_least(0),
    "recipe.clip_grad_norm": _above(0),
    "recipe.crop_padding": _at_least(0),
    "recipe.crop_fill": _one_of("black", "reflect"),
    "recipe.flip": _one_of(True, False, "alternate"),
    "recipe.batch_norm_images": _at_least(0),
}


def check_value(override: Override, default: Any) -> None:
    """Raise UsageError where an override's value is of another type than the default, or outside its range."""
    value, limit = override.value(), LIMITS.get(override.key_or_group)
    if default == "???" or (isinstance(value, str) and "${" in value):
        return  # to be given; known when it is resolved
    if override.key_or_group not in SEVERAL_TYPES and not _fits(value, default):
        words = limit.words if limit else KINDS[type(default)][0]
        raise UsageError(f"{override.input_line}: {words} is needed; the default is {json.dumps(default)}")
    if limit and value is not None and not limit.allows(value):
        raise UsageError(f"{override.input_line}: {limit.words} is needed; the default is {json.dumps(default)}")


def _fits(value: Any, default: Any) -> bool:
    types = KINDS[type(default)][1]
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)


def check_limits(config: Mapping[str, Any]) -> None:
    """Raise UsageError where a resolved configuration has a value outside its range, whichever file it came from."""
    for key, limit in LIMITS.items():
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None and not limit.allows(node):
            raise UsageError(f"{key}={node}: {limit.words} is needed")
