"""Digests of the code that a configuration names: they tell an edited loss from the one that a run was trained with."""

import ast
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
PARTS = ("loss", "backbone")
Code = dict[str, str]  # {part of PARTS: digest}


def code_of(config: Mapping[str, Any]) -> Code:
    """Return the digests of the files with a configuration's loss and backbone."""
    return {part: code_digest(str(config[part].get("_target_"))) for part in PARTS}


def detector_code(detectors: Mapping[str, Any]) -> Code:
    """{detector: its configuration} -> {detector: digest of its function and of what that uses of its file}"""
    return {name: code_digest(str(how.get("_target_")), of_file=False) for name, how in detectors.items()}


def changed_parts(before: Any, now: Code) -> str:
    """Name the parts whose code is another now, "loss and backbone"; "" for none.

    before: the digests in a run's file; None or {} in those of earlier versions.
    """
    return " and ".join(_changed(before, now))


def _changed(before: Any, now: Code) -> list[str]:
    known = before if isinstance(before, Mapping) else {}
    return [part for part in now if known.get(part) and known[part] != now[part]]


def joined_code(before: Any, now: Code) -> Code:
    """Return the digests of two steps of a run: of a part that was edited in between both, "<before>, <now>"."""
    changed = _changed(before, now)
    return {part: f"{before[part]}, {digest}" if part in changed else digest for part, digest in now.items()}


def remember_code(config: Mapping[str, Any]) -> None:
    """Take the digests of the code that this process has just imported: the files may be edited while it runs."""
    code_of(config)
    detector_code(config["detector"] | config["image_detector"])


@cache
def code_digest(target: str, of_file: bool = True) -> str:
    """Return twelve hex digits of the file that defines `oodbench.<package>.<name>`, without comments and docstrings.

    of_file=False: of the definition and of those in the file that it uses. "" where no file of the package defines it.
    """
    address = target.split(".")
    folder = PROJECT.joinpath(*address[1:-1])
    for file in sorted(folder.glob("*.py")) if address[0] == "oodbench" else ():
        tree = ast.parse(file.read_bytes())
        if any(getattr(node, "name", None) == address[-1] for node in tree.body):
            code = _structure(tree if of_file else _used(tree, address[-1]))
            return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:12]
    return ""


def _used(tree: ast.Module, name: str) -> list[ast.stmt]:
    """Return the definition of a name at the top of a file, and those there that it uses, sorted by name."""
    named: dict[str, ast.stmt] = {}
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = [each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)]
        named |= dict.fromkeys([*names, *filter(None, [getattr(node, "name", None)])], node)
    found: dict[str, ast.stmt] = {}
    todo = [name]
    while todo:
        if (at := todo.pop()) in named and at not in found:
            found[at] = named[at]
            todo += [each.id for each in ast.walk(named[at]) if isinstance(each, ast.Name)]
    return [found[at] for at in sorted(found)]


def _structure(node: Any) -> Any:
    """Return nested lists, the same in every version of Python, which writes and orders a tree in its own way."""
    if isinstance(node, list):
        return [_structure(each) for each in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields["body"] = fields["body"][1:] or [ast.Pass()]
    given = [[name, _structure(value)] for name, value in fields.items() if value is not None and value != []]
    return [type(node).__name__, *given]
