"""train.py and `oodbench train` are one command; a finished run says so and returns what a search reads."""

import signal
import sys

import pytest
from helpers.cli import HALO, Finished, script

from oodbench.commands import train
from oodbench.commands.main import main
from oodbench.runs.config import read_config


def test_both_names_find_the_finished_run(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = (*HALO, f"results_dir={finished.results}")
    monkeypatch.setattr(sys, "argv", ["oodbench", "train", *run])
    main()
    printed = capsys.readouterr().out
    assert printed == script("train.py", *run)
    assert printed.startswith("finished already")


def test_a_mistake_names_the_command_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["oodbench", "train", "loss=hallo"])
    with pytest.raises(SystemExit, match=r"^oodbench train: loss=hallo: loss hallo is not available"):
        main()


def test_a_finished_run_takes_a_note(again: Finished) -> None:
    before = read_config(again.folder / "config.yaml")
    for arguments in (["note=first of all"], []):  # a command without one leaves it
        assert script("train.py", *HALO, f"results_dir={again.results}", *arguments).startswith("finished already")
        assert read_config(again.folder / "config.yaml") == before | {"note": "first of all"}
        assert "first of all" in (again.folder / "README.md").read_text()


def test_ctrl_c_before_a_run_begins_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *HALO])
    monkeypatch.setattr("oodbench.cli.launch.plan", lambda arguments: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 130
