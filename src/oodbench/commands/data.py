"""Fetch and decode published sets ahead of time.

    python scripts/prepare_data.py cifar10 cifar100 svhn textures --data-root data

Files that are there already are checked and not fetched again. OOD sets have only the split test.
"""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.data.archives import cifar10, cifar100, svhn
from oodbench.data.cache import directory
from oodbench.data.cifar_c import cifar10c, cifar100c
from oodbench.data.image_archives import isun, lsun_crop, lsun_resize, places365, textures
from oodbench.data.mnist import fashion_mnist, mnist
from oodbench.data.split import Split
from oodbench.data.tiny_imagenet import tiny_imagenet

SPLITS = ("train", "test")
TO_LEARN = (cifar10, cifar100, svhn, mnist, fashion_mnist)
OOD = (tiny_imagenet, textures, places365, lsun_crop, lsun_resize, isun)
SHIFTED = (cifar10c, cifar100c)
READERS: dict[str, dict[str, Callable[[Path], Split]]] = {
    **{reader.__name__: {split: partial(reader, split=split) for split in SPLITS} for reader in TO_LEARN},
    **{reader.__name__: {"test": reader} for reader in OOD},
    **{reader.__name__: {"test": partial(reader, corruption="fog", severity=1)} for reader in SHIFTED},
}


def main() -> None:
    parser = Parser(description="Fetch and decode data sets ahead of time.")
    parser.add_argument("names", nargs="+", choices=READERS, metavar="NAME", help=", ".join(READERS))
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: both")
    root, words = Path(os.environ.get("OODBENCH_DATA", "data")), "default: $OODBENCH_DATA, else data"
    parser.add_argument("--data-root", type=Path, metavar="PATH", default=root, help=words)
    chosen = parser.parse_args()
    if without := [name for name in chosen.names if READERS[name].keys().isdisjoint(chosen.split)]:
        parser.error(f"{without[0]} has no split {' or '.join(chosen.split)}, only {', '.join(READERS[without[0]])}")
    for name in chosen.names:
        for part in [part for part in chosen.split if part in READERS[name]]:
            try:
                split = READERS[name][part](chosen.data_root)
            except (OSError, ValueError) as error:  # each says which file, and the way out
                sys.exit(f"{name} {part}: {error}")
            print(f"{name} {part}: {len(split.images)} images, decoded in {directory()}, source {split.digest[:12]}")
