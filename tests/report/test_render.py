"""The template's filters: what comes from a run stays text."""

import json

import pytest
from jinja2 import UndefinedError

from oodbench.report.page.render import as_json, marked, render


def test_json_cannot_end_its_element() -> None:
    text = as_json({"a": "</script><b>&"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><b>&"}


def test_what_json_lacks_is_an_error() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json({"a": float("nan")})


def test_marks_become_elements_and_all_else_is_escaped() -> None:
    assert marked("**91.2** *90 ± 1* `a<b` <i>") == "<b>91.2</b> <i>90 ± 1</i> <code>a&lt;b</code> &lt;i&gt;"


def test_a_template_without_its_values_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("report.html.j2", {})
