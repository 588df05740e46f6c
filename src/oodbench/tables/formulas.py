"""The formula of a loss's OOD score, from its source: importing a loss would load torch, which tables do without."""

import ast
from functools import cache
from pathlib import Path

import oodbench

LOSSES = Path(oodbench.__file__).parent / "losses"


def ood_score_formula(loss_class: str, folder: Path = LOSSES) -> str:
    """Return the docstring of `ood_score` in this class of the modules in `folder`, or in its bases, shapes left out.

    "" for a class that is not there, and for a method without a docstring.
    """
    found = _classes(folder).get(loss_class)
    if not found:
        return ""
    methods = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "ood_score"]
    if methods:
        first = (ast.get_docstring(methods[0]) or "").partition("\n")[0]
        return first.rpartition("(B,), ")[2].rstrip(".")
    bases = [base.id for base in found.bases if isinstance(base, ast.Name)]
    return next(filter(None, (ood_score_formula(base, folder) for base in bases)), "")


@cache
def _classes(folder: Path) -> dict[str, ast.ClassDef]:
    """-> {name: definition} of the classes in the modules of `folder`"""
    trees = [ast.parse(file.read_text("utf-8")) for file in sorted(folder.glob("*.py"))]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
