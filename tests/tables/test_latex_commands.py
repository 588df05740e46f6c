"""Commands of LaTeX: letters alone, one for each name, defined where a paper has not done so."""

import pytest

from oodbench.tables.latex_commands import Commands


@pytest.mark.parametrize(
    ("kind", "key", "command"),
    [
        ("loss", "ce_smooth", r"\lossCeSmooth{}"),
        ("ood", "cifar10", r"\oodCifarx{}"),
        ("ood", "places365", r"\oodPlacesccclxv{}"),
        ("metric", "fpr95", r"\metricFprxcv{}"),
    ],
)
def test_a_command_has_letters_alone(kind: str, key: str, command: str) -> None:
    assert Commands().use(kind, key, "name") == command


def test_every_name_is_defined_once_and_escaped() -> None:
    commands = Commands()
    for key, name in (("b", "B & C"), ("a", "A"), ("b", "B & C")):
        commands.use("loss", key, name)
    assert commands.definitions() == [r"\providecommand{\lossA}{A}", r"\providecommand{\lossB}{B \& C}"]
