"""scripts/publish.py."""

from pathlib import Path

import pytest
from helpers.cli import Finished, script

from oodbench.report.material import read_material
from oodbench.report.page.build import report_html
from oodbench.runs.record import MAIN_SCORES


def test_a_folder_without_finished_runs_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script("scripts/publish.py", f"results_dir={tmp_path}")
    assert ended.value.code == 2
    assert f"no finished run below {tmp_path / 'runs'}" in capsys.readouterr().err


def test_the_page_of_the_copies_is_that_of_the_runs(finished: Finished, tmp_path: Path) -> None:
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path)
    assert not list(tmp_path.rglob("outputs"))
    full, small = (
        report_html(read_material(results, MAIN_SCORES), MAIN_SCORES, (), "the command")
        for results in (finished.results, tmp_path)
    )
    assert small == full
    assert 'id="p0-roc"' in small


def test_a_detector_that_no_run_has_is_refused(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script(
            "scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path / "x", "--detectors", "mps"
        )
    assert "--detectors: " in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
