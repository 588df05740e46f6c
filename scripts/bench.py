"""How fast this project is, beside the way people write it and beside what the machine can do -> results/bench.md.

python scripts/bench.py                     a quarter of an hour to half an hour on two idle cores
python scripts/bench.py --small             a few minutes: does it run?
python scripts/bench.py --compile           torch.compile, too; a compiler is needed

Whatever is compared takes turns, so that a machine whose speed drifts still gives a fair ratio; every way works in a
process of its own. Figures are medians over the repeats; a ratio is the median of the repeats' own ratios.
"""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

import torch
from benchmarks import detection, loading, network_page, small_run
from benchmarks.plain import WORKERS
from benchmarks.sections import Section, written

from oodbench.storage import write_atomic
from oodbench.training.device import processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="fewer images and one repeat")
    parser.add_argument("--compile", nargs="?", const=True, default=False, help="its mode, as train.py's compile")
    parser.add_argument("--output", type=Path, default=Path("results/bench.md"))
    parser.add_argument("--data-root", default=os.environ.get("OODBENCH_DATA", "data"), help="real images, if any")
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # in the processes that are measured
    repeats, images = (1, 128) if args.small else (5, 512)
    parts: list[Section] = []

    def add(sections: Iterable[Section]) -> None:
        for section in sections:
            print(section, flush=True)
            parts.append(section)

    add([loading.section(args.data_root, repeats)])
    of_network, rates = network_page.sections(images, repeats, args.compile)
    add(of_network)
    add([detection.passes((repeats + 1) // 2, rates["plain"], rates["ours"], small=args.small)])
    add([detection.metrics(repeats)])
    add(small_run.sections(args.data_root, repeats, args.small))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    machine = f"{processor()}, {torch.get_num_threads()} threads, {device}, torch {torch.__version__}"
    options = " --compile" * bool(args.compile) + " --small" * args.small
    write_atomic(args.output, written(options, machine, repeats, WORKERS, parts))
    print(f"written: {args.output}")


if __name__ == "__main__":
    main()
