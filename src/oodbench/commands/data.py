"""Fetch and decode published sets ahead of time.

python scripts/prepare_data.py cifar10 cifar100 svhn textures --data-root data

Files that are there already are checked and not fetched again. Most OOD sets have only the split test; of SVHN and
the MNISTs the training set is read, too, unless --split test leaves it out.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from oodbench.cli.arguments import Parser
from oodbench.data.cache import directory
from oodbench.shipped import conf_files
from oodbench.targets import make

SPLITS = ("train", "test")


def published_sets() -> dict[str, dict[str, Any]]:
    """Return {name: {split: configuration}} of every set in conf/ that lies below the data root."""
    found: dict[str, dict[str, Any]] = {}
    for name, file in conf_files("ood").items():
        node = yaml.safe_load(file.read_text("utf-8"))
        if node.get("root") == "${data_root}" and "???" not in node.values():
            splits = SPLITS if "split" in node else ("test",)
            found[name] = {split: node | {"split": split} if "split" in node else node for split in splits}
    return found


def main() -> None:
    sets = published_sets()
    parser = Parser(__doc__)
    parser.add_argument("names", nargs="+", choices=sets, metavar="NAME", help=", ".join(sets))
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: both")
    root, words = Path(os.environ.get("OODBENCH_DATA", "data")), "default: $OODBENCH_DATA, else data"
    parser.add_argument("--data-root", type=Path, metavar="PATH", default=root, help=words)
    chosen = parser.parse_args()
    if without := [name for name in chosen.names if sets[name].keys().isdisjoint(chosen.split)]:
        parser.error(f"{without[0]} has no split {' or '.join(chosen.split)}, only {', '.join(sets[without[0]])}")
    for name in chosen.names:
        for part in [part for part in chosen.split if part in sets[name]]:
            try:
                split = make(sets[name][part] | {"root": str(chosen.data_root)})
            except (OSError, ValueError) as error:  # each says which file, and the way out
                sys.exit(f"{name} {part}: {error}")
            print(f"{name} {part}: {len(split.images)} images, decoded in {directory()}, source {split.digest[:12]}")
