"""Types and ranges of the values that a key may have.

The files below conf/ are the schema: a value is of the type of its default. Hydra alone would take `seed=abc` for a
text.
"""

import json
import math
import re
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Override

from oodbench.cli.errors import UsageError

WHOLE, NUMBER = (int,), (int, float)


class Limit(NamedTuple):
    """The types and values that a key may have, and the words for them."""

    types: tuple[type, ...]
    allows: Callable[[Any], bool]  # of a value that is of these types
    words: str

    def has(self, value: Any) -> bool:
        is_of_type = isinstance(value, self.types) and (not isinstance(value, bool) or bool in self.types)
        return is_of_type and self.allows(value)


def _any(words: str, *types: type) -> Limit:
    return Limit(types, lambda value: True, words)


def _whole(low: int) -> Limit:
    return Limit(WHOLE, lambda value: value >= low, f"a whole number from {low} on")


def _up_to(high: float) -> Limit:
    return Limit(NUMBER, lambda value: 0 <= value <= high, f"a number from 0 to {high:g}")


def _one_of(*choices: Any) -> Limit:
    known = [json.dumps(choice) for choice in choices]  # in which 1 is not true
    words = "one of " + ", ".join(known).replace('"', "")
    return Limit(tuple(map(type, choices)), lambda value: json.dumps(value) in known, words)


def _list(length: str, lengths: Container[int], each: Limit) -> Limit:
    words = f"a list of {length}, each {each.words},"
    return Limit((list,), lambda value: len(value) in lengths and all(map(each.has, value)), words)


def _by_channel(each: Limit) -> Limit:
    return _list("one or three", (1, 3), each)


NOT_NEGATIVE = Limit(NUMBER, lambda value: value >= 0 and math.isfinite(value), "a number from 0 on")
POSITIVE = Limit(NUMBER, lambda value: value > 0 and math.isfinite(value), "a number above 0")
SHARE, PERCENT = _up_to(1), _up_to(100)
KINDS = {  # by the type of a default: what may stand in its place
    bool: _any("true or false", bool),
    int: _any("a whole number", *WHOLE),
    float: _any("a number", *NUMBER),
    str: _any("a string", str),
    list: _any("a list", list),
    dict: _any("a group of keys", dict),
    type(None): _any("a number, true, false, a list or null", *NUMBER, bool, list),
}
OR_NULL = ("recipe.clip_grad_norm",)  # not at all, even where a loss sets it
LIMITS = {
    "seed": Limit(WHOLE, lambda value: 0 <= value < 2**63, "a whole number from 0 to 2^63 - 1"),
    "device": Limit(
        (str,),
        lambda value: re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", value) is not None,
        "one of auto, cpu, mps, cuda, cuda:N",
    ),
    "devices": _whole(1),
    "runs_per_gpu": _whole(1),
    "precision": _one_of("auto", "bf16", "fp32", "tf32"),
    "compile": _one_of("auto", False, True, "reduce-overhead", "max-autotune"),
    "threads": _whole(1),
    "checkpoint_share": SHARE,
    "wandb.mode": _one_of("disabled", "offline", "online"),
    "wandb.entity": Limit((str,), bool, "a string or null"),
    "validation.images": _whole(0),
    "dataset.size": Limit(  # data/images.py
        WHOLE, lambda value: value in range(8, 1025, 8), "a multiple of 8 from 8 to 1024"
    ),
    "dataset.num_classes": _whole(2),
    "dataset.mean": _by_channel(NOT_NEGATIVE),
    "dataset.std": _by_channel(POSITIVE),
    "dataset.limit": _whole(1),
    "dataset.limit_test": _whole(1),
    "backbone.width": _whole(1),
    "backbone.widths": _list("one or more", range(1, sys.maxsize), _whole(1)),
    "backbone.growth": _whole(1),
    "backbone.side": _whole(1),
    "backbone.dropout": SHARE,
    "recipe.epochs": _whole(1),
    "recipe.batch_size": _whole(1),
    "recipe.optimizer.lr": NOT_NEGATIVE,
    "recipe.optimizer.adam_lr": NOT_NEGATIVE,
    "recipe.optimizer.bias_lr": NOT_NEGATIVE,
    "recipe.optimizer.newton_schulz_steps": _whole(1),
    "recipe.optimizer.momentum": SHARE,
    "recipe.optimizer.weight_decay": NOT_NEGATIVE,
    "recipe.optimizer.betas": _list("two", (2,), Limit(NUMBER, lambda beta: 0 <= beta < 1, "at least 0 and below 1")),
    "recipe.schedule.at": _list("shares", range(sys.maxsize), SHARE),
    "recipe.schedule.factor": NOT_NEGATIVE,
    "recipe.schedule.final": SHARE,
    "recipe.warmup_epochs": NOT_NEGATIVE,
    "recipe.clip_grad_norm": POSITIVE,
    "recipe.crop_padding": _whole(0),
    "recipe.crop_fill": _one_of("black", "reflect"),
    "recipe.flip": _one_of(True, False, "alternate"),
    "recipe.batch_norm_images": _whole(0),
}
OF_DETECTORS = {  # {function: {hyperparameter: limit}}: they are used after a day's training
    **{key: {"percentile": PERCENT} for key in ("ash_b", "ash_p", "ash_s", "dice", "lts", "react", "scale")},
    **{key: {"temperature": POSITIVE} for key in ("energy", "gradnorm", "odin_unperturbed")},
    **{key: {"ridge": POSITIVE} for key in ("gmm", "mahalanobis", "mahalanobis_pp", "relative_mahalanobis")},
    **{key: {"dim": _whole(1)} for key in ("residual", "vim")},
    "gen": {"gamma": POSITIVE, "M": _whole(1)},
    "knn": {"k": _whole(1)},
    "nci": {"alpha": NOT_NEGATIVE},
    "nnguide": {"k": _whole(1), "share": SHARE, "seed": _whole(0)},
    "openmax": {"alpha": _whole(1), "tail": _whole(1)},
    "relation": {"power": POSITIVE, "threshold": NOT_NEGATIVE},
    "vra": {"percentile_low": PERCENT, "percentile_high": PERCENT},
    "network.gram": {"powers": _whole(1), "held_out": SHARE, "seed": _whole(0)},
    "network.mahalanobis_layers": {"ridge": POSITIVE, "eps": NOT_NEGATIVE},
    "network.mc_dropout": {"passes": _whole(1), "seed": _whole(0)},
    "network.odin": {"temperature": POSITIVE, "eps": NOT_NEGATIVE},
}


def check_value(override: Override, default: Any) -> None:
    """Raise UsageError where an override's value is of another type than the default, or outside its range."""
    key, value = override.key_or_group, override.value()
    if default == "???" or (isinstance(value, str) and "${" in value):
        return  # to be given; known when it is resolved
    if value is None and (default is None or key in OR_NULL):
        return
    limit = LIMITS.get(key, KINDS[type(default)])
    if not limit.has(value):
        raise UsageError(f"{override.input_line}: {limit.words} is needed; the default is {json.dumps(default)}")


def check_limits(config: Mapping[str, Any]) -> None:
    """Raise UsageError where a resolved configuration has a value, from any file, of another type or out of range."""
    limits = LIMITS | {
        f"{group}.{name}.{key}": limit
        for group in ("detector", "image_detector")
        for name, node in config.get(group, {}).items()
        if isinstance(node, Mapping)
        for key, limit in OF_DETECTORS.get(str(node.get("_target_")).removeprefix("oodbench.detectors."), {}).items()
    }
    for key, limit in limits.items():
        node: Any = config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None and not limit.has(node):
            raise UsageError(f"{key}={node!r}: {limit.words} is needed")
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
