"""The papers behind a run, from CITATION.cff: a reference whose notes name the loss, network or recipe."""

from functools import cache
from typing import Any

import yaml

from oodbench.report.names import CONF
from oodbench.tables.results import Result

FILE = CONF.parent / "CITATION.cff"


def citations(run: Result) -> list[str]:
    """Return a line for this project and for every reference behind the run; [] where the file is not there."""
    if not FILE.is_file():
        return []
    whole = _cited()
    wanted = {f"loss={run.loss}", f"backbone={run.backbone}", f"recipe={run.recipe}"}
    found = [ref for ref in whole.get("references", []) if any(_names(str(ref.get("notes")), key) for key in wanted)]
    return [line({**whole, "authors": whole["authors"]}), *map(line, found)]


def _names(notes: str, key: str) -> bool:
    """Tell whether notes such as "loss=ce with label_smoothing" begin with a key, as a whole word"""
    return notes.replace(",", " ").split(" ")[0] == key


@cache
def _cited() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text("utf-8")))


def line(reference: dict[str, Any]) -> str:
    """Print a reference: authors, year, title, collection, address."""
    authors = [a.get("family-names") or a.get("name") or a.get("alias") for a in reference.get("authors", [])]
    names = ", ".join(authors) if len(authors) < 4 else f"{authors[0]} et al."
    year = f" ({reference['year']})" if "year" in reference else ""
    rest = [reference.get("collection-title"), reference.get("url") or reference.get("repository-code")]
    version = f", version {reference['version']}" if "version" in reference else ""
    return f"{names}{year}. {reference['title']}{version}. " + ". ".join(str(each) for each in rest if each)
