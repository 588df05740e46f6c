"""The papers behind a run, from CITATION.cff: a reference whose notes name the loss, network or recipe."""

from functools import cache
from typing import Any

import yaml

from oodbench.shipped import CITATION
from oodbench.tables.results import Result


def citations(run: Result) -> list[str]:
    """Return a line for this project and for every reference behind the run; [] where the file is not there."""
    if not CITATION.is_file():
        return []
    whole = _cited()
    found = [ref for ref in whole.get("references", []) if is_behind(str(ref.get("notes")), run)]
    return [line(whole), *map(line, found)]


def is_behind(notes: str, run: Result) -> bool:
    """Tell whether notes name the run's loss, network or recipe: "loss=<name> with <key> or backbone=<name>, and more".

    A loss's name also stands for those that begin with it and "_"; "with <key>" asks for a value of this key but 0.
    """
    return any(_is_named(each, run) for each in notes.partition(",")[0].split(" or "))


def _is_named(note: str, run: Result) -> bool:
    """Tell whether "<part>=<name>", perhaps "with <key>", names a part of the run."""
    first, _, key = note.partition(" with ")
    part, _, name = first.partition("=")
    named = {"loss": run.loss, "backbone": run.backbone, "recipe": run.recipe}.get(part.strip(), "")
    is_named = bool(name) and (named == name or (part == "loss" and named.startswith(f"{name}_")))
    return is_named and (not key or run.loss_settings.get(key.strip(), "0") not in ("0", "false", "null"))


@cache
def _cited() -> dict[str, Any]:
    return dict(yaml.safe_load(CITATION.read_text("utf-8")))


def line(reference: dict[str, Any]) -> str:
    """Format a reference: authors, year, title, collection, address."""
    authors = [a.get("family-names") or a.get("name") or a.get("alias") for a in reference.get("authors", [])]
    names = ", ".join(authors) if len(authors) < 4 else f"{authors[0]} et al."
    year = f" ({reference['year']})" if "year" in reference else ""
    rest = [reference.get("collection-title"), reference.get("url") or reference.get("repository-code")]
    version = f", version {reference['version']}" if "version" in reference else ""
    return f"{names}{year}. {reference['title']}{version}. " + ". ".join(str(each) for each in rest if each)
