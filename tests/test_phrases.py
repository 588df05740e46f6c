"""Times, counts and lists in words."""

import time

import pytest

from oodbench.phrases import clock, counted, duration, join, printable, seeds_of


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2.0 h"), (9000, "2.5 h")],
)
def test_a_duration_has_a_unit_of_its_size(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_clock_names_another_day() -> None:
    noon = time.mktime((2026, 11, 28, 12, 0, 0, 0, 0, -1))
    assert clock(3600, noon) == "13:00"
    assert clock(86400, noon) == time.strftime("%a %d %b 12:00", time.localtime(noon + 86400))


@pytest.mark.parametrize(
    ("n", "words", "text"),
    [(1, ("run",), "1 run"), (0, ("run",), "0 runs"), (1200, ("loss", "losses"), "1,200 losses")],
)
def test_a_number_and_its_noun_agree(n: int, words: tuple[str, ...], text: str) -> None:
    assert counted(n, *words) == text


@pytest.mark.parametrize(("names", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ("abc", "a, b and c")])
def test_names_are_joined(names: list[str], text: str) -> None:
    assert join(names) == text


def test_seeds_are_listed() -> None:
    assert (seeds_of([0]), seeds_of((0, 2))) == ("seed 0", "seeds 0, 2")


def test_control_characters_are_question_marks() -> None:
    assert printable("a\x1b[31m\nb é") == "a?[31m?b é"
