"""Overrides of the command line, checked against conf/: keys, types, and ranges.

The files below conf/ are the schema: a key is one of theirs, and a value is of the type of its default. Hydra alone
would take `seed=abc` for a text, and would not say which keys there are.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

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
OPEN = ("ood", "detector", "image_detector")  # where +<name> adds a set or a detector that conf/ does not have


class UsageError(Exception):
    """A command line that no run can follow; the message names the key, the value and what is available instead."""


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
    "compile": _one_of(False, True, "reduce-overhead", "max-autotune"),
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


def parse(texts: Sequence[str]) -> list[Override]:
    """Return the overrides. Raises HydraException for what is none."""
    return OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides(list(texts))


def is_choice(override: Override) -> bool:
    """Tell whether it picks a file, as in loss=halo."""
    key = override.key_or_group  # a group's has no dot, and to ask takes 10 ms
    return "." not in key and bool(choices(key))


def choices(group: str) -> list[str]:
    """Return the files that a configuration group has."""
    return _options(GlobalHydra.instance().config_loader(), group)


@lru_cache(maxsize=100)  # Hydra reads the folders anew at each question: 30 ms
def _options(loader: ConfigLoader, group: str) -> list[str]:
    return list(loader.get_group_options(group, ObjectType.CONFIG))


def check(override: Override, defaults: Mapping[str, Any]) -> None:
    """Raise UsageError where an override names a key that the defaults lack, or a value of another type or range.

    A sweep's values come one by one.
    """
    *parents, name = override.key_or_group.split(".")
    foreign = bool(parents) and parents[0] in OPEN  # or below a _target_ that checks its arguments itself
    node: Any = defaults
    for depth, key in enumerate([*parents, name]):
        if not isinstance(node, dict) or override.is_delete():
            return  # a list's element: Hydra checks it
        foreign |= not str(node.get("_target_", "oodbench.")).startswith("oodbench.")
        if key not in node:
            if foreign and (override.is_add() or override.is_force_add()):
                return
            others = [path for path in paths(defaults) if path.endswith(f".{key}")]
            raise UsageError(f"{override.input_line}: {_absent(key, parents[:depth], node, others)}")
        node = node[key]
    if not override.is_sweep_override():
        _check_value(override, node)


def _check_value(override: Override, default: Any) -> None:
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


def check_choices(override: Override) -> None:
    """Raise UsageError for a choice that is not available, such as loss=hallo or detector=[knnn].

    A sweep's values come one by one.
    """
    group, value = override.key_or_group, override.value()
    if not is_choice(override) or override.is_sweep_override():
        return
    if value is None and group in OPEN:
        raise UsageError(f"{override.input_line}: a list is needed; {group}=[] for none")
    known = choices(group)
    for name in value if isinstance(value, list) else [value]:
        if name is not None and name not in known:
            other = {"detector": "image_detector", "image_detector": "detector"}.get(group)
            if other and name in choices(other):
                what = "reads images" if other == "image_detector" else "reads stored outputs"
                raise UsageError(f"{override.input_line}: {name} {what}: {other}=[{name}]")
            raise UsageError(f"{override.input_line}: {group} {name} is not available; {_hint(str(name), known)}")


def paths(node: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys, at every depth."""
    for key, value in node.items():
        yield prefix + key
        if isinstance(value, dict) and key != "hydra":
            yield from paths(value, f"{prefix}{key}.")


def _absent(key: str, parents: Sequence[str], node: Mapping[str, Any], others: Sequence[str]) -> str:
    known = sorted(name for name in node if name not in ("_target_", "_partial_", "hydra"))
    where = ".".join(parents)
    if where in OPEN and key in choices(where):
        return f"{where} has no {key}; to choose it: {where}=[{key}]; chosen: {_list(known)}"
    if where in OPEN and len(parents) == 1:
        return f"{where} has no {key}; to add one, put + before it: +{where}.{key}.path=... ; available: {_list(known)}"
    close = [".".join([*parents, name]) for name in difflib.get_close_matches(key, known, n=1)] or list(others)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"{where or 'the configuration'} has no {key}; {hint}available: {_list(known)}"


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return "".join(f"did you mean {name}? " for name in close) + f"available: {_list(known)}"


def _list(known: Sequence[str]) -> str:
    return ", ".join(known) or "nothing"
