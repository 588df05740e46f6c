"""scripts/tables.py."""

from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import add_run
from helpers.report import add_garbage_run


def test_tables_are_written_and_an_overview_is_printed(tmp_path: Path) -> None:
    add_run(tmp_path)
    printed = script("scripts/tables.py", "--results-dir", tmp_path)
    assert {file.name for file in tmp_path.glob("*.*")} == {"cifar10.md", "cifar10.tex", "runs.csv", "means.csv"}
    assert "Accuracy" in printed
    assert "finished: 1, unfinished: 0" in printed


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--digits", "0"], "--digits and --intervals are for --style paper"),
        (["--calibration", "--fpr", "oodpos"], "shows neither scores nor FPR@95"),
        (["--calibration", "--detectors", "msp"], "shows neither scores nor FPR@95"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    add_run(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script("scripts/tables.py", "--results-dir", tmp_path, *options)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "runs.csv").exists()


def test_a_run_that_is_left_out_is_named_and_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(tmp_path)
    add_garbage_run(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script("scripts/tables.py", "--results-dir", tmp_path)
    assert ended.value.code == 1
    assert "left out: " in capsys.readouterr().err
