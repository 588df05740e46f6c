"""Work that would make a command wait: modules that take long to import, and Python's garbage collector."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


def import_late(module: str) -> Any:
    """Return a module of oodbench that takes long to import."""
    return import_module(f"oodbench.{module}")


@contextmanager
def without_collector() -> Iterator[None]:
    """Let nothing be collected meanwhile: nearly all objects stay, and looking for others takes a tenth."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
