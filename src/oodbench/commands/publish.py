"""Copy finished runs without weights and outputs: all that a repository needs to make its tables again.

python scripts/publish.py results_dir=PATH         # -> results/runs, to commit; scripts/tables.py reads them as any run
python scripts/publish.py results_dir=PATH --target DIR --detectors ood_score msp knn

A run keeps config.yaml, training.json, train.csv and metrics.json, with the machine's paths made relative, and of its
resamples those that tables of the detectors need, rounded to 1e-5; of its outputs, what figures are drawn from. Runs
that cannot be read are named, and end the command with status 1.
"""

import sys
from functools import partial
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.phrases import counted
from oodbench.publishing.copies import publish_all
from oodbench.runs.paths import finished_folders
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.load import load_runs, needs_resamples
from oodbench.tables.write import check_detectors


def main() -> None:
    parser = Parser(__doc__)
    parser.add_results_dir("reads PATH/runs", default=None)
    parser.add_argument("--target", type=Path, default=Path("results"), help="the copies go below its runs/")
    words = f"whose resamples are kept, for tests and bold; default: {' '.join(MAIN_SCORES)}"
    parser.add_argument("--detectors", nargs="+", help=words)
    args = parser.parse_args()
    finished = finished_folders(args.results_dir)
    if not finished:
        parser.error(f"no finished run below {args.results_dir / 'runs'}")
    if args.detectors:
        try:
            check_detectors(load_runs(args.results_dir, args.detectors).runs, args.detectors)
        except ValueError as error:
            parser.error(f"--detectors: {error}")
    keep = partial(needs_resamples, args.detectors or MAIN_SCORES)
    copies, failed = publish_all(finished, args.target, keep)
    for folder, reason in failed.items():
        print(f"{folder}: {reason}", file=sys.stderr)
    size = sum(file.stat().st_size for copy in copies for file in copy.iterdir())
    print(f"published {counted(len(copies), 'run')} below {args.target / 'runs'}, {size / 1e6:.2f} MB")
    if failed:
        raise SystemExit(1)
