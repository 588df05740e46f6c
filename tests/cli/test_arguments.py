"""Errors of arguments are one line, of every script and of train.py."""

from pathlib import Path

import pytest
from helpers.cli import script
from helpers.config import ROOT

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


@pytest.mark.parametrize("arguments", [["--seed"], ["--seed=1"], ["-cd"], ["seed=0", "--hydra-help=3"]])
def test_an_unknown_option_of_train_ends_in_one_line(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match=r"^train\.py: .*; --help lists keys and options$"):
        script("train.py", *arguments)
