"""Overrides of the command line, read as Hydra reads them, and checked against the keys and choices of conf/.

Hydra alone would not say which keys and choices there are.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from oodbench.cli.arguments import as_text
from oodbench.cli.errors import UsageError
from oodbench.cli.limits import check_value

OPEN = ("ood", "detector", "image_detector")  # where +<name> adds a set or a detector that conf/ does not have


def quote(argument: str) -> str:
    """Quote a value that Hydra's grammar cannot read, as in results_dir='/x/über (1)'; lists have to be quoted."""
    key, equals, value = argument.partition("=")
    if not equals or argument.startswith("-") or any(mark in value for mark in '"\\,[{$'):
        return argument
    try:
        parse([argument])
    except HydraException:
        return f"{key}={as_text(value)}"
    return argument


def parse(texts: Sequence[str]) -> list[Override]:
    """Return the overrides. Raises HydraException for a text that is not one."""
    hydra = GlobalHydra.instance()
    loader = hydra.config_loader() if hydra.is_initialized() else None  # only globs ask it
    return OverridesParser.create(config_loader=loader).parse_overrides(list(texts))


def is_choice(override: Override) -> bool:
    """Tell whether it picks a file of conf/, as in loss=<name>."""
    key = override.key_or_group  # a group's has no dot, and asking Hydra takes 10 ms
    return "." not in key and bool(choices(key))


def choices(group: str) -> list[str]:
    """Return the files that a configuration group has."""
    return _options(GlobalHydra.instance().config_loader(), group)


@lru_cache(maxsize=100)  # Hydra reads the folders again at each call: 30 ms
def _options(loader: ConfigLoader, group: str) -> list[str]:
    return list(loader.get_group_options(group, ObjectType.CONFIG))


def check_key(override: Override, defaults: Mapping[str, Any]) -> None:
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
        check_value(override, node)


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
