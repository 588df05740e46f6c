"""The files beside the code: in the repository they lie at its root, in a wheel inside the package (setup.py)."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = PACKAGE / "_shipped"
ROOT = INSTALLED if INSTALLED.exists() else PACKAGE.parents[1]

CONF = ROOT / "conf"
CITATION = ROOT / "CITATION.cff"
PUBLISHED = ROOT / "results" / "published.yaml"
