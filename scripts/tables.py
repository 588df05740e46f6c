"""Every finished run -> <dataset>.md, <dataset>.tex and runs.csv, the published rows beneath.

python scripts/tables.py [--results-dir results] [--fpr idpos|oodpos] [--detectors native msp]
"""

import argparse
from pathlib import Path

from oodbench.tables import FPR, load_runs, write_tables

PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description="Tabulate every finished run.")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="has runs/ and gets the tables")
    parser.add_argument("--fpr", choices=sorted(FPR), default="idpos", help="which FPR@95; runs.csv has both")
    parser.add_argument(
        "--detectors", nargs="+", default=["native", "msp"], help="the scores that each loss is shown with"
    )
    args = parser.parse_args()
    try:
        runs, unfinished = load_runs(args.results_dir)
        write_tables(args.results_dir, runs, PUBLISHED, args.fpr, args.detectors)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"tables: {error}") from error
    datasets = ", ".join(sorted({run.dataset for run in runs}))
    print(f"finished: {len(runs)}, unfinished: {unfinished}; tables of {datasets} in {args.results_dir}")


if __name__ == "__main__":
    main()
