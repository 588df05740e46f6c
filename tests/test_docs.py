"""The pages of docs/: their generated parts are up to date, what they link to exists."""

import ast
import re
import runpy
from pathlib import Path

import pytest
from helpers.config import ROOT, names

PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
GENERATED = [page for page in PAGES if "<!-- generated: " in page.read_text("utf-8")]
GENERATOR = runpy.run_path(str(ROOT / "docs" / "generate.py"))


@pytest.mark.parametrize("page", GENERATED, ids=lambda page: page.name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text("utf-8")
    assert text == GENERATOR["updated"](text), f"{page.name} is stale: run make docs"


@pytest.mark.parametrize(
    ("page", "group"), [("losses", "loss"), ("detectors", "detector"), ("detectors", "image_detector")]
)
def test_every_choice_has_a_section(page: str, group: str) -> None:
    sections = re.findall(r"^### (\w+)$", (ROOT / f"docs/{page}.md").read_text("utf-8"), re.MULTILINE)
    assert set(names(group)) <= set(sections)
    assert len(sections) == len(set(sections))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)", page.read_text("utf-8"))
    assert all((page.parent / link).exists() for link in links), links


def test_a_part_that_changed_is_written_anew() -> None:
    page = "by hand\n<!-- generated: losses -->\nold\n<!-- end -->\nby hand, too\n"
    new = GENERATOR["updated"](page)
    assert new.startswith("by hand\n<!-- generated: losses -->\n\n| `loss=` |")
    assert new.endswith("\n\n<!-- end -->\nby hand, too\n")
    assert "old" not in new
    assert GENERATOR["updated"](new) == new


SHELL = re.compile(r"^\s*(?:# |\$ )?((?:[A-Z_]+=\S+ )*(?:python|pip|make|oodbench) .*)$")
OF_ZSH = re.compile(r"[\[\](){}*?<>!^]|(?<!\S)=")  # outside quotes: patterns, or the path of a command


def commands() -> list[tuple[str, str]]:
    """Return the commands in pages, in comments of conf/ and in docstrings of commands, with their files."""
    scripts = (ROOT / "src/oodbench/commands").glob("*.py")
    files = [*PAGES, *(ROOT / "conf").rglob("*.yaml"), ROOT / "train.py", *scripts]
    found = []
    for file in files:
        text = file.read_text("utf-8")
        if file.suffix == ".md":
            blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
            text = "\n".join([*blocks, *re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)])
        elif file.suffix == ".py":
            text = (ast.get_docstring(ast.parse(text)) or "").replace("  python", "\npython")
        text = text.replace("\\\n", " ")
        found += [(file.name, line[1]) for line in map(SHELL.match, text.splitlines()) if line]
    return found


def test_no_comment_follows_a_command_of_a_page() -> None:
    """An interactive zsh takes # for an argument, and reads > and ' of the comment as in any command."""
    assert [(file, line) for file, line in commands() if file.endswith(".md") and re.search(r"\s#(\s|$)", line)] == []


def test_commands_are_quoted_for_zsh() -> None:
    known = commands()
    assert len(known) > 60
    assert {"tables.py", "evaluate.py"} <= {file for file, _ in known}
    bare = [(file, re.sub(r"'[^']*'|\"[^\"]*\"", "", re.split(r"\s#|  ", line)[0])) for file, line in known]
    usage = re.compile(r"\[(results_dir|--)[^\]]*\]|\.\.\.")  # of scripts, in brackets what may be left out
    assert [(file, line) for file, line in bare if OF_ZSH.search(usage.sub("", line))] == []
