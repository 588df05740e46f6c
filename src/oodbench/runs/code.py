"""Digests of the code that a configuration names: they tell an edited loss from the one that a run was trained with."""

import ast
import hashlib
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from oodbench.evaluation.metrics import ADDRESSES

PROJECT = Path(__file__).parents[1]
RECORDS = ("IDMetric", "OODMetric")
TEXTS = ("heading", "definition", "source")  # of a metric's record, which change no number
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PARTS = ("loss", "backbone")
Code = dict[str, str]  # {part of PARTS: digest}


def code_of(config: Mapping[str, Any]) -> Code:
    """Return the digests of the files with a configuration's loss and backbone."""
    return {part: code_digest(_target_of(config[part])) for part in PARTS}


def detector_code(detectors: Mapping[str, Any]) -> Code:
    """{detector: its configuration} -> {detector: digest of its function and of what that uses of its package}"""
    return {name: code_digest(_target_of(how), of_file=False) for name, how in detectors.items()}


def metric_code() -> Code:
    """-> {metric: digest of its record, of the functions in it and of what these use of their package}"""
    return {name: code_digest(address, of_file=False) for name, address in ADDRESSES.items()}


def _target_of(node: Any) -> str:
    """Return what a node of a stored configuration names, which is untrusted; "" for nothing."""
    return str(node.get("_target_")) if isinstance(node, Mapping) else ""


def changed_parts(before: Any, now: Code) -> str:
    """Name the parts whose code is another now, "loss and backbone"; "" for none.

    before: the digests in a run's file; None or {} in those of earlier versions.
    """
    return " and ".join(_changed(before, now))


def _changed(before: Any, now: Code) -> list[str]:
    known = before if isinstance(before, Mapping) else {}
    return [part for part in now if known.get(part) and known[part] != now[part]]


def joined_code(before: Any, now: Code) -> Code:
    """Return the digests of all steps of a run: of a part that was edited between two of them "<before>, <now>"."""
    changed = _changed(before, now)
    known = {part: str(before[part]).split(", ") if part in changed else [] for part in now}
    return {part: ", ".join(dict.fromkeys([*known[part], digest])) for part, digest in now.items()}


def remember_code(config: Mapping[str, Any]) -> None:
    """Take the digests of the code that this process has just imported: the files may be edited while it runs."""
    code_of(config)
    detector_code(config["detector"] | config["image_detector"])
    metric_code()


@cache
def code_digest(target: str, of_file: bool = True) -> str:
    """Return twelve hex digits of the file that defines `oodbench.<package>.<name>`, without comments and docstrings.

    of_file=False: of the definition and of those in the package that it uses. "" where no file of the package has it.
    """
    if not re.fullmatch(r"oodbench(\.\w+)+", target):
        return ""
    address = target.split(".")
    for file in sorted(PROJECT.joinpath(*address[1:-1]).glob("*.py")):
        if address[-1] in _names(file, file.read_bytes())[0]:
            code = _structure(_parsed(file.read_bytes()) if of_file else _used(file, address[-1]))
            return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:12]
    return ""


@cache
def _parsed(code: bytes) -> ast.Module:
    return ast.parse(code)


def _used(file: Path, name: str) -> list[ast.stmt]:
    """Return a definition at the top of a file, and those of its package that it uses, sorted by file and name."""
    found: dict[tuple[Path, str], ast.stmt] = {}
    names, seen, todo = {}, set(), [(file, name)]
    while todo:
        if (at := todo.pop()) in seen:
            continue
        seen.add(at)
        here, name = at
        if here not in names:
            names[here] = _names(here, here.read_bytes())
        defined, imported = names[here]
        if name in imported:
            todo.append(imported[name])
        elif name in defined:
            found[at] = defined[name]
            todo += [(here, each.id) for each in ast.walk(defined[name]) if isinstance(each, ast.Name)]
    return [found[at] for at in sorted(found)]


@cache
def _names(file: Path, code: bytes) -> tuple[dict[str, ast.stmt], dict[str, tuple[Path, str]]]:
    """Return {name: its definition} of a file, and {name: file and name in its package that it is imported from}."""
    defined: dict[str, ast.stmt] = {}
    imported: dict[str, tuple[Path, str]] = {}
    package = file.relative_to(PROJECT).parts[0]
    for node in _parsed(code).body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"oodbench.{package}."):
            of = PROJECT.joinpath(*str(node.module).split(".")[1:]).with_suffix(".py")
            imported |= {alias.asname or alias.name: (of, alias.name) for alias in node.names if of.exists()}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)]
        defined |= dict.fromkeys([*names, *filter(None, [getattr(node, "name", None)])], node)
    return defined, imported


def _structure(node: Any) -> Any:
    """Return nested lists, the same in every version of Python, which writes and orders a tree in its own way."""
    if isinstance(node, list):
        return [_structure(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RECORDS:
        fields["keywords"] = [keyword for keyword in node.keywords if keyword.arg not in TEXTS]
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:] or [ast.Pass()]
    given = [[name, _structure(value)] for name, value in fields.items() if value is not None and value != []]
    return [type(node).__name__, *given]
