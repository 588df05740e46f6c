"""Exports of a package: the public classes and functions of its modules, found without a list."""

import inspect
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def exports(package: str, path: Iterable[str]) -> dict[str, Any]:
    """Return {name: object} of the public classes and functions that the package's modules define.

    So `oodbench.<package>.<Name>` is an address that survives a move of the code between files, and a new file needs
    no line in `__init__.py`. Subpackages are left out. Raises ImportError where two modules define one name.
    """
    found: dict[str, Any] = {}
    for info in iter_modules(path):
        if info.ispkg:
            continue
        module = import_module(f"{package}.{info.name}")
        for name, value in vars(module).items():
            is_own = getattr(value, "__module__", None) == module.__name__
            if is_own and not name.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)):
                if name in found:
                    raise ImportError(f"{package}: {found[name].__module__} and {module.__name__} both define {name}")
                found[name] = value
    return found
