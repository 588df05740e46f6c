"""Named tuples as JSON and back."""

import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from oodbench.report.plain import from_plain, to_plain


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
    text = json.dumps(to_plain(OUTER))
    again = from_plain(Outer, json.loads(text))
    assert json.dumps(to_plain(again)) == text
    assert (type(again), type(again.some[1]), type(again.pair)) == (Outer, Inner, tuple)
    assert (again.points == OUTER.points).all()
    assert (again.points.dtype, again.other.counts.dtype) == (np.float64, np.int64)
    assert again.none is None


@pytest.mark.parametrize(
    "odd",
    [
        {"points": [[0.1], [0.2, 0.3]]},
        {"points": [float("nan")]},
        {"points": ["0.1"]},
        {"pair": [0.5]},
        {"pair": ["half", 2]},
        {"inner": [1]},
        {"some": None},
        {"other": {"counts": [1]}},
    ],
)
def test_what_cannot_be_of_the_type_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the sentence is NumPy's or Python's own for some
        from_plain(Outer, to_plain(OUTER) | odd)
