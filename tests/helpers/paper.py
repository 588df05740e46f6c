"""Tables for papers, of runs that are made up."""

from pathlib import Path

from oodbench.tables.load import load_runs
from oodbench.tables.paper import paper
from oodbench.tables.paper.style import Style

SETS = {"cifar100": 0.8, "svhn": 0.9, "textures": 0.7}
BOTH = ["ood_score", "msp"]


def scores(shift: float = 0.0, msp: float = 0.0, sets: dict[str, float] = SETS) -> dict[str, dict[str, float]]:
    """Return the AUROCs of two detectors on every set."""
    return {name: {"ood_score": auroc + shift, "msp": auroc + shift + msp} for name, auroc in sets.items()}


def lines(results: Path, style: Style = Style(), detectors: list[str] = BOTH) -> list[str]:  # noqa: B008 - immutable
    """Return the lines of the runs' tables."""
    return paper(load_runs(results).runs, "idpos", detectors, style).splitlines()


def body(text: list[str]) -> list[list[str]]:
    """Return the cells below the headings."""
    rows = text[text.index(r"\midrule") + 1 : text.index(r"\bottomrule")]
    return [row.removesuffix(r" \\").split(" & ") for row in rows]
