"""Commands of LaTeX: letters alone, one for each name, defined where a paper has not done so."""

import pytest

from oodbench.tables.paper.latex_commands import Commands


@pytest.mark.parametrize(
    ("kind", "key", "command"),
    [
        ("loss", "ce_smooth", r"\lossCeSmooth{}"),
        ("ood", "cifar10", r"\oodCifarx{}"),
        ("ood", "places365", r"\oodPlacesccclxv{}"),
        ("metric", "fpr95", r"\metricFprxcv{}"),
        ("ood", "leaves2026", r"\oodLeavesiioiivi{}"),
        ("loss", "isomax+", r"\lossIsomaxPlus{}"),
        ("loss", "halo-v2", r"\lossHaloDashVii{}"),
    ],
)
def test_a_command_has_letters_alone(kind: str, key: str, command: str) -> None:
    assert Commands().use(kind, key, "name") == command


def test_no_two_names_share_a_command() -> None:
    commands = Commands()
    keys = ["isomax", "isomax+", "halo", "halo0", "halo-v2", "halo_v2", "isomax_b"]
    found = [commands.use("loss", key, key) for key in keys]
    assert len(set(found)) == len(keys)
    assert [commands.use("loss", key, key) for key in keys] == found
    assert all(name.isalpha() for name in (command.strip("\\{}") for command in found))
    assert len(commands.definitions()) == len(keys)


def test_every_name_is_defined_once_and_escaped() -> None:
    commands = Commands()
    for key, name in (("b", "B & C"), ("a", "A"), ("b", "B & C")):
        commands.use("loss", key, name)
    assert commands.definitions() == [r"\providecommand{\lossA}{A}", r"\providecommand{\lossB}{B \& C}"]
