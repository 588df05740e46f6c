"""The formula of a loss's OOD score, from its source: importing a loss would load torch, which tables do without."""

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def ood_score_formula(loss_class: str) -> str:
    """What the docstring of `ood_score` says in this class of oodbench.losses, shapes left out.

    "" for a class that is not there, and for a method without a docstring of its own.
    """
    body = _classes().get(loss_class)
    for node in body.body if body else ():
        if isinstance(node, ast.FunctionDef) and node.name == "ood_score":
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            return first.rpartition("(B,), ")[2].rstrip(".")
    bases = [base.id for base in body.bases if isinstance(base, ast.Name)] if body else []
    return next(filter(None, map(ood_score_formula, bases)), "")


@cache
def _classes() -> dict[str, ast.ClassDef]:
    """{name: definition} of the classes of oodbench.losses"""
    spec = find_spec("oodbench")
    folders = [Path(folder) / "losses" for folder in (spec.submodule_search_locations or ())] if spec else []
    trees = [ast.parse(file.read_text("utf-8")) for folder in folders for file in sorted(folder.glob("*.py"))]
    return {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)}
