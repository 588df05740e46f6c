"""Named tuples of numbers, texts and arrays as JSON, and back by their types."""

import math
from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

LARGEST = 1e15  # absolute value of a float; what is drawn from larger ones would overflow


def to_json(value: Any) -> Any:
    """Return a value as JSON has it: named tuples and mappings as dictionaries, arrays and sequences as lists."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "_asdict"):
        return {name: to_json(field) for name, field in value._asdict().items()}
    if isinstance(value, Mapping):
        return {key: to_json(each) for key, each in value.items()}
    return [to_json(each) for each in value] if isinstance(value, list | tuple) else value


def from_json(kind: Any, node: Any) -> Any:
    """Return the value of type `kind` that `to_json` made `node` of.

    kind: a NamedTuple of int, float, str, arrays, NamedTuples, and lists, tuples and {str: ...} of these, or None.
    Raises ValueError where the node is of another type, and for a float that is not finite or above LARGEST.
    """
    try:
        return _read(kind, node)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no {kind.__name__}: {type(error).__name__} {error}") from error


def _read(kind: Any, node: Any) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin is UnionType:  # X | None
        return None if node is None else _read(args[0], node)
    if origin is dict:
        return {str(key): _read(args[1], each) for key, each in node.items()}
    if origin in (list, tuple, np.ndarray) and type(node) is not list:
        raise ValueError(f"{node!r} is no list")
    if origin is list:
        return [_read(args[0], each) for each in node]
    if origin is tuple:
        return tuple(_read(each, value) for each, value in zip(args, node, strict=True))
    if origin is np.ndarray:
        array = np.array(node)
        if array.dtype.kind not in "if" or not (np.abs(array) <= LARGEST).all():
            raise ValueError(f"an array of {array.dtype} is not one of finite numbers")
        return array
    if hasattr(kind, "_fields"):
        return kind(**{name: _read(hint, node[name]) for name, hint in get_type_hints(kind).items()})
    if type(node) is not kind or (kind is float and not (math.isfinite(node) and abs(node) <= LARGEST)):
        raise ValueError(f"{node!r} is no {'finite ' * (kind is float)}{kind.__name__}")
    return node
