"""Types and ranges of the values that a key may have.

The files below conf/ are the schema: a value is of the type of its default. Hydra alone would take `seed=abc` for a
text.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from oodbench.cli.errors import UsageError

NUMBER = (int, float)
KINDS: dict[type, tuple[str, tuple[type, ...]]] = {  # of a default: in words, what may stand in its place
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", NUMBER),
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


def _by_channel(each: Limit) -> Limit:
    return Limit(
        lambda value: len(value) in (1, 3) and all(isinstance(v, NUMBER) and each.allows(v) for v in value),
        f"a list of one or three, each {each.words},",
    )


SEVERAL_TYPES = ("compile", "recipe.flip")  # true, false, or a text
OR_NULL = ("recipe.clip_grad_norm",)  # not at all, even where a loss sets it
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
    "dataset.mean": _by_channel(_at_least(0)),
    "dataset.std": _by_channel(_above(0)),
    "dataset.limit": _at_least(1),
    "dataset.limit_test": _at_least(1),
    "backbone.width": _at_least(1),
    "recipe.epochs": _at_least(1),
    "recipe.batch_size": _at_least(1),
    "recipe.optimizer.lr": _at_least(0),
    "recipe.optimizer.adam_lr": _at_least(0),
    "recipe.optimizer.bias_lr": _at_least(0),
    "recipe.optimizer.newton_schulz_steps": _at_least(1),
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
OF_DETECTORS = {  # by the name of the hyperparameter, whichever detector has it: it is used after a day's training
    "M": _at_least(1),
    "alpha": _at_least(0),
    "dim": _at_least(1),
    "eps": _at_least(0),
    "gamma": _above(0),
    "held_out": _within(0, 1),
    "k": _at_least(1),
    "passes": _at_least(1),
    "percentile": _within(0, 100),
    "percentile_high": _within(0, 100),
    "percentile_low": _within(0, 100),
    "power": _above(0),
    "powers": _at_least(1),
    "ridge": _above(0),
    "seed": _at_least(0),
    "share": _within(0, 1),
    "tail": _at_least(1),
    "temperature": _above(0),
    "threshold": _at_least(0),
}


def check_value(override: Override, default: Any) -> None:
    """Raise UsageError where an override's value is of another type than the default, or outside its range."""
    value, limit = override.value(), LIMITS.get(override.key_or_group)
    if default == "???" or (isinstance(value, str) and "${" in value):
        return  # to be given; known when it is resolved
    if value is None and override.key_or_group in OR_NULL:
        return
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
    limits = LIMITS | {
        f"{group}.{name}.{key}": OF_DETECTORS[key]
        for group in ("detector", "image_detector")
        for name, node in config.get(group, {}).items()
        if isinstance(node, Mapping)
        for key in node.keys() & OF_DETECTORS
        if isinstance(node[key], NUMBER)
    }
    for key, limit in limits.items():
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None and not limit.allows(node):
            raise UsageError(f"{key}={node}: {limit.words} is needed")
    for key, value in _numbers(config):
        if not math.isfinite(value):
            raise UsageError(f"{key}={value}: a finite number is needed")


def _numbers(node: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield the dotted key and the value of every number with a fraction; whole ones are finite."""
    for name, value in node.items() if isinstance(node, Mapping) else enumerate(node):
        if isinstance(value, float):
            yield f"{key}{name}", value
        elif isinstance(value, Mapping | list):
            yield from _numbers(value, f"{key}{name}.")
