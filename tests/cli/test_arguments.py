"""Errors of arguments are one line, of every script and of train.py."""

import contextlib
import io
import runpy
import sys
from pathlib import Path

import pytest
from helpers.cli import script
from helpers.config import ROOT

from oodbench.cli.arguments import Parser, as_overrides, as_text
from oodbench.cli.overrides import parse

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("arguments", [["--nonsense"], ["--results-dir"], ["-j", "x", "a\nb"], ["--seed", "1.5", "x"]])
def test_an_unknown_argument_ends_in_one_line(
    name: str, arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        script(f"scripts/{name}", *arguments)
    said = capsys.readouterr().err or str(ended.value.code)
    assert ended.value.code not in (0, None)
    assert said.strip().startswith(name.removesuffix(".py"))
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["tables", "report", "status", "import_outputs", "evaluate", "ensemble", "publish"])
def test_results_dir_is_spelt_as_for_train_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = Parser(prog=name)
    parser.add_results_dir("has runs/")
    for arguments in (["--results-dir", "x"], ["--results-dir=x"], ["results_dir=x"]):
        assert parser.parse_args(arguments).results_dir == Path("x")
    assert parser.parse_args([]).results_dir == Path("results")
    assert "results_dir=PATH" in help_of(name, monkeypatch)


@pytest.mark.parametrize("path", ["x", "/x/über", "/x/my (1)", "/x/a,b", "/x/[1]", "bob's"])
def test_train_takes_the_path_of_the_option_as_it_is(path: str) -> None:
    for arguments in (["--results-dir", path], [f"--results-dir={path}"]):
        (override,) = parse(as_overrides(["seed=1", *arguments])[1:])
        assert (override.key_or_group, override.value()) == ("results_dir", path)


def test_the_home_may_be_written_as_a_tilde() -> None:
    home = Path("~/x").expanduser()
    parser = Parser()
    parser.add_results_dir("has runs/")
    for arguments in (["--results-dir", "~/x"], ["--results-dir=~/x"], ["results_dir=~/x"]):
        assert parser.parse_args(arguments).results_dir == home
        assert parse(as_overrides(arguments))[0].value() == str(home)


def help_of(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit), contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    return printed.getvalue()


@pytest.mark.parametrize("arguments", [["--seed"], ["--seed=1"], ["-cd"], ["seed=0", "--hydra-help=3"]])
def test_an_unknown_option_of_train_ends_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^train\.py: .*; --help lists keys and options$"):
        script("train.py", *arguments)


@pytest.mark.parametrize("value", ["C:\\x\\", "a\\'b", "it's", "\\", "/x [1]", "", "x"])
def test_a_quoted_text_is_taken_as_it_is(value: str) -> None:
    (override,) = parse([f"note={as_text(value)}"])
    assert override.value() == value
