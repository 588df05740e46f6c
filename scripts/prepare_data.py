"""Fetch and decode CIFAR-10, CIFAR-100 and SVHN ahead of time.

    python scripts/prepare_data.py cifar10 cifar100 svhn --data-root data

What is already there is checked and not fetched again.
"""

import os
import sys
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.data.archives import cifar10, cifar100, svhn
from oodbench.data.cache import directory

READERS = {"cifar10": cifar10, "cifar100": cifar100, "svhn": svhn}


def main() -> None:
    parser = Parser(description="Fetch and decode data sets ahead of time.")
    parser.add_argument("names", nargs="+", choices=READERS)
    parser.add_argument("--split", nargs="+", choices=["train", "test"], default=["train", "test"])
    parser.add_argument("--data-root", type=Path, default=Path(os.environ.get("OODBENCH_DATA", "data")))
    chosen = parser.parse_args()
    for name in chosen.names:
        for part in chosen.split:
            try:
                split = READERS[name](chosen.data_root, part)
            except (OSError, ValueError) as error:  # each says which file, and the way out
                sys.exit(f"{name} {part}: {error}")
            print(f"{name} {part}: {len(split.images)} images, decoded in {directory()}, source {split.digest[:12]}")


if __name__ == "__main__":
    main()
