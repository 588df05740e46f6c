"""Names, numbers and settings in a run's files."""

import re
from typing import Any

import pytest

from oodbench.tables.fields import number, safe_name, whole


@pytest.mark.parametrize("name", ["cifar10", "a|b", "_x", "10", "tiny_imagenet", "CE+LS", "über", "loss (v=2)"])
def test_ordinary_names_pass(name: str) -> None:
    assert safe_name("loss", name) == name


@pytest.mark.parametrize("name", ["=x", "+x", "-x", "@x", "../x", "a/b", "a\\b", ".", "", "a\nb", "\ta", " a", None, 5])
def test_names_that_lead_elsewhere_or_are_formulas_do_not(name: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"loss {name!r}: a name begins with")):
        safe_name("loss", name)


@pytest.mark.parametrize("value", [True, None, "1", float("nan"), [1]])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"ece is {value!r}, not a number")):
        number(value, "ece")
    with pytest.raises(ValueError, match=re.escape(f"seed is {value!r}, not a whole number")):
        whole(value, "seed")


def test_a_fraction_is_no_whole_number() -> None:
    assert number(1.5, "ece") == 1.5
    with pytest.raises(ValueError, match=r"seed is 1\.5, not a whole number"):
        whole(1.5, "seed")
