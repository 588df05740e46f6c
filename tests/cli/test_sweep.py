"""The line before a run of a sweep."""

import pytest

from oodbench.cli.sweep import Sweep, line

NOON = 1_700_000_000.0


def test_a_line_counts_what_is_left_and_when_it_ends() -> None:
    sweep = Sweep([True, False, False, True, False], [50.0, 70.0])
    text = line(1, ["loss=ce", "seed=1"], sweep, NOON)
    assert text.startswith("[2/5] loss=ce seed=1; 3 to do, about 3 min, until ")


@pytest.mark.parametrize(
    ("number", "sweep", "text"),
    [
        (0, Sweep([False, False]), "[1/2] loss=ce; 2 to do"),  # nothing has been measured
        (1, Sweep([True, True], [60.0]), "[2/2] loss=ce"),
        (4, Sweep(), "[5] loss=ce"),  # a worker, or a search
    ],
)
def test_a_line_says_only_what_is_known(number: int, sweep: Sweep, text: str) -> None:
    assert line(number, ["loss=ce"], sweep, NOON) == text
