"""Score the ensemble of each configuration's seeds:  python scripts/ensemble.py

It scores all configurations below results, or below results_dir=PATH, or those that are named: a RUN is a folder of
seeds or one above it. The seeds' outputs are needed. The numbers of the mean of their predictive probabilities are
written to ensemble.json beside them, from which tables take a row.
"""

import sys
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.runs.paths import ENSEMBLE
from oodbench.scoring.ensembles import score_ensemble
from oodbench.tables.fields import errors_name


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a folder of seeds, or one above it")
    parser.add_results_dir("where no RUN is named, all below it")
    args = parser.parse_args()
    paths = args.runs or [args.results_dir]
    finished = {file.parent.parent for path in paths for file in path.rglob("metrics.json")}
    folders = sorted(path for path in finished if len(list(path.glob("seed*/metrics.json"))) > 1)
    if not folders:
        parser.error(f"no two finished seeds of one configuration below {', '.join(map(str, paths))}")
    failed = 0
    for folder in folders:
        try:
            with errors_name(folder):
                content = score_ensemble(folder)
            seeds = ", ".join(content["members"])
            print(f"{folder / ENSEMBLE}: seeds {seeds}, accuracy {100 * content['accuracy']:.2f} %")
        except (OSError, ValueError) as error:  # told and counted; the others are scored
            failed += 1
            print(f"{folder}: {error}", file=sys.stderr)
    if failed:
        raise SystemExit(1)
