"""The rules of the tree: a test file for every module, a loss named in its own file alone, imports at the top."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers.config import ROOT, composed, names

SOURCE = ROOT / "src/oodbench"
MODULES = sorted(SOURCE.rglob("*.py"))
LATE = {"timm", "torchvision", "sklearn", "wandb"}  # docs/architecture.md says why
LATE_THERE = {"evaluation/metrics/smooth_ece.py": {"scipy"}, "publishing/check.py": {"oodbench"}}
COMMANDS = ("cli", "commands")  # they import what brings torch or scipy where it is used: --help does not wait for it


def place(module: Path) -> str:
    return str(module.relative_to(SOURCE))


@pytest.mark.parametrize("module", [m for m in MODULES if m.name != "__init__.py"], ids=place)
def test_every_module_has_a_test_file_of_its_name(module: Path) -> None:
    package = module.relative_to(SOURCE).parts[0] if module.parent != SOURCE else ""
    below = (ROOT / "tests" / package).glob("**/*" if package else "*")
    assert f"test_{module.stem}.py" in {path.name for path in below}


def test_no_two_packages_share_a_name_for_their_tests() -> None:
    """A test file could otherwise stand for two modules of one name."""
    found = [
        (m.relative_to(SOURCE).parts[0], m.stem) for m in MODULES if m.name != "__init__.py" and m.parent != SOURCE
    ]
    assert sorted(found) == sorted(set(found))


@cache
def names_of_losses() -> list[re.Pattern[str]]:
    """Return a pattern for each loss: its address, an import of its class, or its choice on a command line."""
    targets = {loss: composed("dataset=digits", f"loss={loss}").loss._target_ for loss in names("loss")}
    parts = {loss: str(target).rsplit(".", 2)[1:] for loss, target in targets.items()}
    return [
        re.compile(rf"\b{package}\.{name}\b|\bimport\b.*\b{name}\b|\bloss=[\"']?{loss}\b")
        for loss, (package, name) in parts.items()
    ]


@pytest.mark.parametrize("module", [m for m in MODULES if m.parent.name != "losses"], ids=place)
def test_no_module_outside_losses_names_a_loss(module: Path) -> None:
    text = module.read_text("utf-8")
    assert not [found[0] for pattern in names_of_losses() if (found := pattern.search(text))]


@pytest.mark.parametrize("module", MODULES, ids=place)
def test_imports_stand_at_the_top(module: Path) -> None:
    inside = [node for top in ast.parse(module.read_text("utf-8")).body for node in ast.walk(top) if node is not top]
    found = [alias.name for node in inside if isinstance(node, ast.Import) for alias in node.names]
    found += [str(node.module) for node in inside if isinstance(node, ast.ImportFrom)]
    allowed = LATE | LATE_THERE.get(place(module), set()) | ({"oodbench"} if module.parent.name in COMMANDS else set())
    assert {name.partition(".")[0] for name in found} <= allowed


def room(module: str) -> str:
    """oodbench.runs.folder -> runs, oodbench.build -> build"""
    return module.split(".")[1] if "." in module else ""


def test_packages_do_not_import_one_another_in_a_circle() -> None:
    """Packages, and modules beside them; late imports of cli/ and commands/ included."""
    needs: dict[str, set[str]] = {}
    for module in MODULES:
        own = module.relative_to(SOURCE).with_suffix("").parts[0]
        froms = [node for node in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(node, ast.ImportFrom)]
        named = {room(str(node.module)) for node in froms if str(node.module).startswith("oodbench.")}
        needs.setdefault(own, set()).update(named - {own})
    assert len(needs) > 20
    assert "experiment" in needs["commands"]  # imported late
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the circle
