"""Exports of a package: the classes or functions of one kind that its modules define, found without a list."""

import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

Kind = Callable[[Any], bool]  # tells whether an object is one of them


def exports(package: str, path: Iterable[str], kind: Kind) -> dict[str, Any]:
    """Return {name: object} of one kind, as the package's modules define them, without private names.

    So `oodbench.<package>.<Name>` is an address that survives a move of the code between files, and a new file needs
    no line in `__init__.py`. Functions that help them have no address, and their names may repeat. Subpackages are left
    out. Raises ImportError where two modules define one name.
    """
    found: dict[str, Any] = {}
    for info in iter_modules(path):
        if info.ispkg:
            continue
        module = import_module(f"{package}.{info.name}")
        for name, value in vars(module).items():
            is_own = getattr(value, "__module__", None) == module.__name__
            if is_own and not name.startswith("_") and kind(value):
                if name in found:
                    raise ImportError(
                        f"{package}: {found[name].__module__} and {module.__name__} both define {name}; rename one of "
                        "them, with an underscore first where nothing outside its file uses it"
                    )
                found[name] = value
    return found


def subclass_of(base: type) -> Kind:
    """Return the kind of this class and its subclasses."""
    return lambda value: inspect.isclass(value) and issubclass(value, base)


def function_of(*first: str) -> Kind:
    """Return the kind of functions whose first arguments have these names."""
    return lambda value: inspect.isfunction(value) and (*inspect.signature(value).parameters,)[: len(first)] == first
