"""Check the runs that were submitted and this project's own, and write the leaderboard: README.md and report.html.

python scripts/registry.py [results_dir=results/registry] [--own results] [--outputs RESULTS_DIR]

A run is submitted by scripts/publish.py --target results/registry; docs/adding.md has the steps. --own names the folder
of this project's own runs, which stand beside them; `make registry` does. Where a run's outputs and weights lie in its
folder or below RESULTS_DIR, all of its numbers are computed again and compared. Problems are named and end the command
with status 1; then nothing is written.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.publishing.registry import check_registry, write_pages
from oodbench.runs.record import MAIN_SCORES


def main() -> None:
    parser = Parser(__doc__)
    parser.add_results_dir("reads PATH/runs", default="results/registry")
    parser.add_argument("--own", type=Path, metavar="RESULTS_DIR", help="has this project's own runs")
    parser.add_argument("--outputs", type=Path, metavar="RESULTS_DIR", help="has the same runs with their outputs")
    parser.add_argument(
        "--detectors", nargs="+", help=f"the scores of the leaderboard; default: {' '.join(MAIN_SCORES)}"
    )
    args = parser.parse_args()
    try:
        registry = check_registry(args.results_dir, args.own, args.outputs, args.detectors)
        for entry in registry.entries:
            print(f"{entry.run.folder}: {'has problems' if entry.problems else registry.origins[entry.run.folder]}")
        if problems := registry.problems():
            print(*problems, sep="\n", file=sys.stderr)
            raise SystemExit(1)
        print(*write_pages(registry, args.results_dir, _command(args.own, args.detectors)), sep="\n")
    except (OSError, ValueError) as error:
        raise SystemExit(f"registry: {error}") from error


def _command(own: Path | None, detectors: Sequence[str] | None) -> str:
    """Return the command that writes the same pages from the runs alone."""
    given = {"--own": [own] if own else [], "--detectors": detectors or []}
    options = "".join(f" {name} {shlex.join(map(str, values))}" for name, values in given.items() if values)
    return f"python scripts/registry.py{options}"
