"""`oodbench NAME` is the script of that name."""

import subprocess
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest
from helpers.config import ROOT

from oodbench import __version__, commands
from oodbench.commands.main import COMMANDS, main

SCRIPTS = {"train": "train.py", "data": "scripts/prepare_data.py"}  # the others are scripts/NAME.py


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/oodbench", *arguments])
    main()
    return capsys.readouterr().out


def test_every_module_is_a_command() -> None:
    assert {module.name for module in iter_modules(commands.__path__)} == {*COMMANDS, "main"}


def test_every_script_is_the_command_of_its_name() -> None:
    scripts = {name: ROOT / SCRIPTS.get(name, f"scripts/{name}.py") for name in COMMANDS}
    assert {path for path in scripts.values() if path.parent != ROOT} == set((ROOT / "scripts").glob("*.py"))
    for name, path in scripts.items():
        *_, first, _, _, last = path.read_text("utf-8").splitlines()
        assert (first, last) == (f"from oodbench.commands.{name} import main", "    main()")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(monkeypatch, capsys, *arguments).splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(COMMANDS)


def test_the_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(monkeypatch, capsys, "--version") == f"{__version__}\n"


def test_a_command_takes_the_arguments_after_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(monkeypatch, capsys, "status", "--results-dir", str(tmp_path)) == f"no run below {tmp_path / 'runs'}\n"
    with pytest.raises(SystemExit) as ended:
        said(monkeypatch, capsys, "status", "--nonsense")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("oodbench status: ")


def test_a_command_that_is_none_ends_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^oodbench: tabels is no command; available: train, .*$"):
        said(monkeypatch, capsys, "tabels")


def test_the_list_imports_nothing_that_takes_time() -> None:
    code = "import sys, oodbench.commands.main as m; m.main(); print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(ended.stdout.splitlines()[-1].split())
    assert "oodbench" in imported
    assert not {"torch", "numpy", "scipy", "pandas", "matplotlib", "hydra", "oodbench.api"} & imported
