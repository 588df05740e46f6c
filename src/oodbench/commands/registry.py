"""Check the runs that were handed in and this project's own, and write the leaderboard: README.md and report.html.

python scripts/registry.py [--results-dir results/registry] [--outputs RESULTS_DIR]

Own runs are those of the folder that the registry is in, results/. A run is handed in by scripts/publish.py with
--target results/registry; docs/adding.md has the steps. Where a run's outputs and weights lie in its folder or below
RESULTS_DIR, all of its numbers are computed again and compared. Problems are named and end the command with status 1;
then nothing is written.
"""

import argparse
import sys
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.report.leaderboard import leaderboard
from oodbench.report.material import material_of
from oodbench.report.page.build import report_html
from oodbench.runs.paths import GLOB
from oodbench.scoring.registry import check
from oodbench.shipped import PUBLISHED
from oodbench.storage import write_atomic
from oodbench.tables import FIRST, chosen_detectors, load_runs, together
from oodbench.tables.published import load_published


def main() -> None:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--results-dir", type=Path, default=Path("results/registry"), help="has runs/, and own ones beside it"
    )
    parser.add_argument("--outputs", type=Path, metavar="RESULTS_DIR", help="has the same runs with their outputs")
    parser.add_argument("--detectors", nargs="+", help=f"the scores of the leaderboard; default: {' '.join(FIRST)}")
    args = parser.parse_args()
    try:
        write_registry(args.results_dir, args.outputs, args.detectors)
    except (OSError, ValueError) as error:
        raise SystemExit(f"registry: {error}") from error


def write_registry(results_dir: Path, outputs: Path | None, chosen: list[str] | None) -> None:
    """Check every run, then write both pages. Raises SystemExit with status 1 where a run has a problem."""
    places = dict.fromkeys([results_dir, results_dir.parent])
    finished = [folder for folder in places if any(folder.glob(f"{GLOB}/metrics.json"))]
    found = together([load_runs(folder, chosen or FIRST) for folder in finished or [results_dir]])
    detectors = chosen_detectors(found.runs, chosen)
    entries = [check(run, outputs) for run in found.runs]
    for entry in entries:
        said = "has problems" if entry.problems else "recomputed" if entry.recomputed else "as handed in"
        print(f"{entry.run.folder}: {said}")
    if problems := [*(reason for _, reason in found.unreadable), *(each for e in entries for each in e.problems)]:
        print(*problems, sep="\n", file=sys.stderr)
        raise SystemExit(1)
    material = material_of(found, results_dir)
    recomputed = {entry.run.folder for entry in entries if entry.recomputed}
    page = report_html(material, detectors, load_published(PUBLISHED), "python scripts/registry.py")
    pages = {"README.md": leaderboard(found.runs, recomputed, detectors), "report.html": page}
    for name, text in pages.items():
        write_atomic(results_dir / name, text)
        print(results_dir / name)
