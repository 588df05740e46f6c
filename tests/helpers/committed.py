"""Tables in a results folder, made anew by the commands that they name."""

import re
import runpy
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.config import ROOT

COMMAND = re.compile(r"^Made from all finished runs by `python scripts/tables\.py(.*)`\.$", re.MULTILINE)


def tracked(folder: Path) -> list[Path]:
    """The files below a folder of the repository that git knows."""
    command = ["git", "ls-files", "-z", "--", "."]
    listed = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout.decode()
    return [folder / name for name in listed.split("\0") if name]


def differing_tables(folder: Path, files: list[Path], copy: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of tables among `files` that differ when the runs among them, copied elsewhere, are tabulated anew."""
    for file in files:
        to = copy / file.relative_to(folder)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
    before = {file.name: file.read_bytes() for file in sorted(copy.glob("*.md")) + sorted(copy.glob("*.tex"))}
    commands = {options for text in before.values() for options in COMMAND.findall(text.decode())}
    for name in before:
        (copy / name).unlink()
    for options in sorted(commands):
        monkeypatch.setattr("sys.argv", ["tables.py", "--results-dir", str(copy), *options.split()])
        runpy.run_path(str(ROOT / "scripts" / "tables.py"))["main"]()
    after = {file.name: file.read_bytes() for file in copy.iterdir() if file.suffix in (".md", ".tex")}
    made = {name for name, text in before.items() if COMMAND.search(text.decode()) or name.endswith(".tex")}
    return sorted(name for name in made if after.get(name) != before[name])
