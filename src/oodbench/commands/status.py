"""Show the state of every run:  python scripts/status.py [--results-dir results]"""

from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.runs.status import states, table


def main() -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="has runs/")
    args = parser.parse_args()
    rows = states(args.results_dir)
    print(table(rows) if rows else f"no run below {args.results_dir / 'runs'}")
