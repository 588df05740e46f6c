"""Modules that are imported late, so that --help and a finished run need not wait for torch or scipy."""

from importlib import import_module
from typing import Any


def import_late(module: str) -> Any:
    """Return a module of oodbench that takes long to import."""
    return import_module(f"oodbench.{module}")
