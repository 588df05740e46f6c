"""Digests of the code that a configuration names: they tell an edited loss from the one that a run was trained with."""

import ast
import hashlib
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


def changed_parts(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name the parts whose code is another now, "loss and backbone"; "" for none. Earlier runs have no digests."""
    return " and ".join(part for part in PARTS if before.get(part) and before[part] != now.get(part))


@cache
def code_digest(target: str) -> str:
    """Return twelve hex digits of the file that defines `oodbench.<package>.<name>`, without comments and docstrings.

    "" where no file of the package defines it.
    """
    address = target.split(".")
    for file in sorted(PROJECT.joinpath(*address[1:-1]).glob("*.py")):
        tree = ast.parse(file.read_bytes())
        if any(getattr(node, "name", None) == address[-1] for node in tree.body):
            return hashlib.sha256(ast.unparse(_without_docstrings(tree)).encode()).hexdigest()[:12]
    return ""


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body[0] = ast.Pass()
    return tree
