"""Places of conf/, CITATION.cff and results/published.yaml: the repository's root, or inside the package in a wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_shipped"
ROOT = INSTALLED if INSTALLED.exists() else PACKAGE.parents[1]

CONF = ROOT / "conf"
CITATION = ROOT / "CITATION.cff"
PUBLISHED = ROOT / "results" / "published.yaml"


def conf_files(group: str) -> dict[str, Path]:
    """Return {name: file} of the choices of a group of conf/, sorted by name."""
    return {file.stem: file for file in sorted((CONF / group).glob("*.yaml"))}
