"""Show the state of every run.

python scripts/status.py [results_dir=results]
python scripts/status.py --watch              # refreshes it every ten seconds, until Ctrl-C or all is done
"""

import sys
import time
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.runs.status import states, table

LONGEST = 86_400  # seconds
CLEAR = "\033[H\033[2J\033[3J"  # the screen and what scrolled off it


def main() -> None:
    parser = Parser(__doc__)
    parser.add_results_dir("reads PATH/runs")
    parser.add_argument(
        "--watch", type=float, nargs="?", const=10.0, metavar="SECONDS", help="refresh it, every 10 s by default"
    )
    args = parser.parse_args()
    if args.watch is not None and not 0 < args.watch <= LONGEST:
        parser.error(f"--watch: a number of seconds above 0, at most {LONGEST}, is needed")
    try:
        while show(args.results_dir) and args.watch:
            time.sleep(args.watch)
            print(CLEAR if sys.stdout.isatty() else "\n", end="")
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def show(results_dir: Path) -> bool:
    """Print the table of all runs; tell whether one of them is not done."""
    rows = states(results_dir)
    print(table(rows) if rows else f"no run below {results_dir / 'runs'}", flush=True)
    return not rows or any(row.state != "done" for row in rows)
