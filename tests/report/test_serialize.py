"""Named tuples as JSON and back."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from oodbench.report.serialize import from_json, to_json


class Inner(NamedTuple):
    counts: NDArray[np.int64]
    name: str


class Outer(NamedTuple):
    inner: dict[str, Inner]
    points: NDArray[np.floating]
    pair: tuple[float, int]
    some: list[Inner]
    none: Inner | None
    other: Inner | None


INNER = Inner(np.array([1, 2, 3]), "é<")
OUTER = Outer({"a": INNER}, np.array([[0.1, 1 / 3]]), (0.5, 2), [INNER, INNER], None, INNER)


def test_what_is_read_is_what_was_written() -> None:
    text = json.dumps(to_json(OUTER))
    again = from_json(Outer, json.loads(text))
    assert json.dumps(to_json(again)) == text
    assert (type(again), type(again.some[1]), type(again.pair)) == (Outer, Inner, tuple)
    assert (again.points == OUTER.points).all()
    assert (again.points.dtype, again.other.counts.dtype) == (np.float64, np.int64)
    assert again.none is None


def test_empty_parts_stay_empty() -> None:
    again = from_json(Outer, to_json(OUTER._replace(inner={}, some=[])))
    assert (again.inner, again.some) == ({}, [])


def test_scalars_of_numpy_become_numbers() -> None:
    assert json.dumps(to_json({"a": np.int64(3), "b": np.float64(0.5)})) == '{"a": 3, "b": 0.5}'


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"points": [[0.1], [0.2, 0.3]]}, "inhomogeneous"),
        ({"points": [float("nan")]}, "not one of finite numbers"),
        ({"points": [1e300]}, "not one of finite numbers"),
        ({"points": ["0.1"]}, "not one of finite numbers"),
        ({"points": 0.1}, "0.1 is no list"),
        ({"pair": [0.5]}, "shorter"),
        ({"pair": ["half", 2]}, "'half' is no finite float"),
        ({"pair": [float("inf"), 2]}, "inf is no finite float"),
        ({"pair": [0.5, 2.5]}, "2.5 is no int"),
        ({"pair": [0.5, True]}, "True is no int"),
        ({"inner": [1]}, "no Outer: AttributeError"),
        ({"some": "abc"}, "'abc' is no list"),
        ({"other": {"counts": [1]}}, "KeyError 'name'"),
    ],
)
def test_what_is_of_another_type_is_refused(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(Outer, to_json(OUTER) | odd)
