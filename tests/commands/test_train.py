"""train.py and `oodbench train` are one command; a finished run says so and returns what a search reads."""

import signal
import sys

import pytest
from helpers.cli import HALO, Finished, script

from oodbench.commands import train
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


def test_ctrl_c_before_a_run_begins_has_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *HALO])
    monkeypatch.setattr("oodbench.cli.launch.plan", lambda arguments: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 130
