"""scripts/report.py."""

from html import unescape
from pathlib import Path

import pytest
from helpers.cli import Finished, copied, script
from helpers.made_up import add_run
from helpers.report import add_garbage_run


def test_the_page_of_a_folder_is_written(finished_ce: Finished, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = ("--results-dir", finished_ce.results, "--detectors", "msp")
    printed = script("scripts/report.py", *arguments, "--out", out)
    assert str(out) in printed
    page = unescape(out.read_text("utf-8"))
    assert page.startswith("<!doctype html>")
    assert f"python scripts/report.py results_dir={finished_ce.results} --detectors msp" in page


def test_the_page_of_a_run_lies_in_its_folder(finished_ce: Finished, tmp_path: Path) -> None:
    run = copied(finished_ce, tmp_path / "results")
    script("scripts/report.py", run.folder)
    assert "CE on Digits" in (run.folder / "report.html").read_text("utf-8")


def test_figures_are_written_as_files(finished_ce: Finished, tmp_path: Path) -> None:
    script("scripts/report.py", finished_ce.folder, "--figures", tmp_path, "--format", "pdf,svg")
    assert (tmp_path / "digits-scores.pdf").is_file()
    assert (tmp_path / "digits-scores.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--format", "svg"), "--format is for --figures DIR"),
        (("--figures", "x", "--detectors", "msp"), "--out, --detectors and --open are for the page"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        script("scripts/report.py", *arguments)
    assert says in capsys.readouterr().err


def test_without_runs_the_error_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^report: no finished run"):
        script("scripts/report.py", "--results-dir", tmp_path)


def test_a_run_left_out_is_told_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path)
    add_garbage_run(tmp_path)
    with pytest.raises(SystemExit) as end:
        script("scripts/report.py", "--results-dir", tmp_path)
    assert end.value.code == 1
    assert (tmp_path / "report.html").is_file()
    assert "left out: " in capsys.readouterr().err


def test_an_unknown_detector_is_an_error(tmp_path: Path) -> None:
    add_run(tmp_path)
    with pytest.raises(SystemExit, match="no run has the detector nope"):
        script("scripts/report.py", "--results-dir", tmp_path, "--detectors", "nope")


@pytest.mark.parametrize("screen", [True, False])
def test_a_browser_is_asked_where_it_has_a_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: bool
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0") if screen else monkeypatch.delenv("DISPLAY", raising=False)
    add_run(tmp_path)
    script("scripts/report.py", f"results_dir={tmp_path}", "--open")
    assert opened == [(tmp_path / "report.html").as_uri()] * screen
