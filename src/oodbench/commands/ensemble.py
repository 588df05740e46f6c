"""Score the ensemble of each configuration's seeds:  python scripts/ensemble.py

It scores all configurations below results, or below results_dir=PATH, or those that are named: a RUN is a folder of
seeds or one above it. The seeds' outputs are needed. The numbers of the mean of their predictive probabilities are
written to ensemble.json beside them, from which tables take a row.
"""

import sys
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.runs.paths import ENSEMBLE, METRICS, finished_seeds
from oodbench.scoring.ensembles import score_ensemble
from oodbench.storage import errors_name


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="a folder of seeds, or one above it")
    parser.add_results_dir("where no RUN is named, all below it")
    args = parser.parse_args()
    paths = args.runs or [args.results_dir]
    below = {path: configurations(path) for path in paths}
    if without := [str(path) for path, found in below.items() if not found]:
        parser.error(f"no two finished seeds of one configuration below {', '.join(without)}")
    failed = 0
    for folder in sorted(set().union(*below.values())):
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


def configurations(path: Path) -> set[Path]:
    """Return the folders at or below a path in which two seeds or more are finished."""
    finished = {file.parent.parent for file in path.rglob(METRICS)}
    return {folder for folder in finished if len(finished_seeds(folder)) > 1}
