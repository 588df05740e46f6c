"""train.py and `oodbench train` are one command; a finished run says so and returns what a search reads."""

import sys

import pytest
from helpers.cli import HALO, Finished, script

from oodbench.commands.main import main


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
