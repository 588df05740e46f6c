"""Readers of sets, told from other functions by their types: conf may name readers alone."""

import re
from inspect import Parameter, formatannotation, isfunction, signature
from typing import Any

from oodbench.data.split import Split

PLAIN = re.compile(
    r"(str|int|float|bool|None|list|(collections\.abc\.)?Sequence|(pathlib\.)?Path|[\[\]| ])*"
)  # types that YAML can fill


def is_reader(value: Any) -> bool:
    """Tell whether it is a function that makes a Split from plain values, not from another Split or a function."""
    if not isfunction(value) or signature(value).return_annotation not in (Split, "Split"):
        return False
    return all(PLAIN.fullmatch(_type_of(parameter)) for parameter in signature(value).parameters.values())


def _type_of(parameter: Parameter) -> str:
    """Return a parameter's type as it is written; "" where it has none."""
    kind = parameter.annotation
    return "" if kind is Parameter.empty else kind if isinstance(kind, str) else formatannotation(kind)
