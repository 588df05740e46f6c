"""The command that repeats a run gives its hash."""

import shlex
from typing import Any

import pytest
from helpers.config import configuration, names

from oodbench.cli.configuration import compose, resolve
from oodbench.report.command import command_of
from oodbench.runs.identity import config_hash


def again(command: str) -> dict[str, Any]:
    python, script, *overrides = shlex.split(command)
    assert (python, script) == ("python", "train.py")
    return resolve(compose(overrides))


@pytest.mark.parametrize("loss", names("loss"))
def test_every_loss_has_its_command(loss: str) -> None:
    config = configuration(f"loss={loss}", "seed=3")
    command = command_of(config)
    assert command
    assert config_hash(again(command)) == config_hash(config)
    assert "seed=3" in command


def test_values_that_were_changed_are_named() -> None:
    config = configuration("recipe.epochs=3", "recipe.optimizer.lr=0.02", "backbone.width=4")
    command = command_of(config)
    assert command
    assert {"recipe.epochs=3", "recipe.optimizer.lr=0.02", "backbone.width=4"} <= set(shlex.split(command))


def test_a_name_that_conf_lacks_has_no_command() -> None:
    config = configuration()
    config["name"]["loss"] = "gone"
    assert command_of(config) is None


def test_a_path_cannot_leave_its_quotes() -> None:
    config = configuration()
    config["ood"] = {"mine": {"path": "/data/$(touch x)'; rm y"}}
    command = command_of(config)
    assert command is None or "+ood.mine.path=/data/$(touch x)'; rm y" in shlex.split(command)
