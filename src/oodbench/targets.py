"""Objects from configurations: `make` for those of the command line, `trusted` for stored ones.

A stored configuration may name code by this rule:

1. A target is `oodbench.<package>.<Name>`, its package losses, backbones, data or detectors, as the caller expects.
2. <Name> is a class or function that a module of that package defines, without an underscore first.
3. A loss is an Objective, a backbone a Module, a set a function of plain arguments that returns a Split, a detector a
   function whose first arguments are `test` and `reference`; nothing else.
4. Arguments are numbers, strings, booleans, null and lists of these; a target has no target inside.
5. Everything else raises ValueError before anything is imported or called.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from oodbench.exports import exports

META = ("_target_", "_partial_")


def make(node: Any, **arguments: Any) -> Any:
    """Build what a configuration of the command line describes. Raises what the constructor raises."""
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        raise (error.__cause__ or error) from None  # the sentence that says what is wrong, without Hydra's frame


def trusted(node: Any, package: str, **arguments: Any) -> Any:
    """Build what a stored configuration describes. Raises ValueError by the rule."""
    found, stored = _found(node, package, arguments)
    return found(**stored, **arguments)


def trusted_detector(node: Any) -> Callable[..., Any]:
    """Return the detector that a stored configuration describes. Raises ValueError by the rule."""
    found, stored = _found(node, "detectors", dict.fromkeys(("test", "reference")))
    return partial(found, **stored)


def _found(node: Any, package: str, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return what a stored configuration names, and its arguments, which fit together with these."""
    if not isinstance(node, Mapping) or not isinstance(node.get("_target_"), str):
        raise ValueError(f"a stored configuration of {package} is {node!r}; a mapping with _target_ is needed")
    found = allowed(package).get(node["_target_"])
    if found is None:
        raise ValueError(
            f"_target_: {node['_target_']} is not one of oodbench.{package}, and a stored configuration may name "
            "nothing else"
        )
    stored = {key: value for key, value in node.items() if key not in META}
    for key, value in stored.items():
        if not _is_plain(value):
            raise ValueError(f"{node['_target_']}: {key}={value!r} is no number, string, boolean, null or list of them")
    try:
        inspect.signature(found).bind(**stored, **arguments)
    except TypeError as error:
        raise ValueError(f"{node['_target_']}: {error}") from error
    return found, stored


def allowed(package: str) -> dict[str, Any]:
    """Return {address: object} of everything that a stored configuration may name in a package."""
    name = f"oodbench.{package}"
    module = import_module(name)
    return {f"{name}.{key}": value for key, value in exports(name, module.__path__, module.KIND).items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str)
