"""Check the runs that were submitted and this project's own, and write the leaderboard: README.md and report.html.

python scripts/registry.py [results_dir=results/registry] [--own results] [--outputs RESULTS_DIR]

A run is submitted by scripts/publish.py --target results/registry; docs/adding.md has the steps. --own names the folder
of this project's own runs, which stand beside them; `make registry` does. Where a run's outputs and weights lie in its
folder or below RESULTS_DIR, all of its numbers are computed again and compared. Problems are named and end the command
with status 1; then nothing is written.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from oodbench.cli.arguments import Parser
from oodbench.report.leaderboard import OWN, RECOMPUTED, SUBMITTED, leaderboard
from oodbench.report.material import material_of
from oodbench.report.page.build import report_html
from oodbench.runs.paths import finished_folders
from oodbench.runs.record import MAIN_SCORES, OWN_SCORE
from oodbench.scoring.registry import Entry, check_run
from oodbench.shipped import PUBLISHED
from oodbench.storage import write_atomic
from oodbench.tables.load import load_runs, merged
from oodbench.tables.published import load_published
from oodbench.tables.write import chosen_detectors


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
        write_registry(args.results_dir, args.own, args.outputs, args.detectors)
    except (OSError, ValueError) as error:
        raise SystemExit(f"registry: {error}") from error


def write_registry(results_dir: Path, own: Path | None, outputs: Path | None, chosen: list[str] | None) -> None:
    """Check every run, then write both pages.

    Raises SystemExit with status 1 where a run has a problem, ValueError for a folder without runs.
    """
    if own and not finished_folders(own):
        raise ValueError(f"--own {own}: no finished run below {own / 'runs'}")
    if outputs and not (outputs / "runs").is_dir():
        raise ValueError(f"--outputs {outputs}: there is no folder {outputs / 'runs'}")
    folders = [results_dir, own] if own else [results_dir]
    finished = [folder for folder in folders if finished_folders(folder)]
    found = merged(load_runs(folder, {*(chosen or MAIN_SCORES), OWN_SCORE}) for folder in finished or folders)
    detectors = chosen_detectors(found.runs, chosen)
    entries = [check_run(run, outputs) for run in found.runs]
    origins = {entry.run.folder: _origin(entry, own) for entry in entries}
    for entry in entries:
        print(f"{entry.run.folder}: {'has problems' if entry.problems else origins[entry.run.folder]}")
    if problems := [*(reason for _, reason in found.unreadable), *(each for e in entries for each in e.problems)]:
        print(*problems, sep="\n", file=sys.stderr)
        raise SystemExit(1)
    material = material_of(found, results_dir)
    given: dict[str, list[Any]] = {"--own": [own] if own else [], "--detectors": chosen or []}
    options = "".join(f" {name} {shlex.join(map(str, values))}" for name, values in given.items() if values)
    page = report_html(material, detectors, load_published(PUBLISHED), f"python scripts/registry.py{options}")
    pages = {"README.md": leaderboard(found.runs, origins, detectors), "report.html": page}
    for name, text in pages.items():
        write_atomic(results_dir / name, text)
        print(results_dir / name)


def _origin(entry: Entry, own: Path | None) -> str:
    """Return where a run's numbers come from."""
    if entry.recomputed:
        return RECOMPUTED
    return OWN if own and entry.run.folder.is_relative_to(own / "runs") else SUBMITTED
