"""Named tuples of numbers, texts and arrays as JSON, and back by their types."""

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np


def to_plain(value: Any) -> Any:
    """Return a value as JSON has it: named tuples and mappings as dictionaries, arrays and sequences as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "_asdict"):
        return {name: to_plain(field) for name, field in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: to_plain(each) for key, each in value.items()}
    return [to_plain(each) for each in value] if isinstance(value, list | tuple) else value


def from_plain(kind: Any, node: Any) -> Any:
    """Return what `to_plain` made `node` of, a value of type `kind`. Raises ValueError where it cannot be one."""
    try:
        return _read(kind, node)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a {kind.__name__}: {type(error).__name__} {error}") from error


def _read(kind: Any, node: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is UnionType:  # X | None
        return None if node is None else _read(args[0], node)
    if origin is np.ndarray:
        return _finite(np.array(node))
    if origin is dict:
        return {str(key): _read(args[1], each) for key, each in node.items()}
    if origin is list:
        return [_read(args[0], each) for each in node]
    if origin is tuple:
        return tuple(_read(each, value) for each, value in zip(args, node, strict=True))
    if hasattr(kind, "_fields"):
        return kind(**{name: _read(hint, node[name]) for name, hint in get_type_hints(kind).items()})
    return kind(node)


def _finite(array: Any) -> Any:
    if array.dtype.kind not in "if" or not np.isfinite(array).all():
        raise ValueError(f"an array of {array.dtype} is not one of finite numbers")
    return array
