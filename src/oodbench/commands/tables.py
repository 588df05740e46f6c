"""Tabulate every finished run: <dataset>.md and .tex, with published rows beside their protocol; runs.csv, means.csv.

python scripts/tables.py [results_dir=results] [--detectors ood_score msp]
python scripts/tables.py --fpr oodpos                   # the other FPR@95: <dataset>.oodpos.md, .tex
python scripts/tables.py --by loss.tau recipe.epochs    # <dataset>.by-loss.tau+recipe.epochs.md, .tex instead
python scripts/tables.py --style paper                  # <dataset>.paper.tex: LaTeX to paste into a paper
python scripts/tables.py --matrix                       # every loss x every detector: <dataset>.matrix.md, .tex instead
python scripts/tables.py --calibration                  # every metric of calibration: <dataset>.calibration.md, .tex

Runs that cannot be read are left out, named with the reason, and end the command with status 1.
"""

import argparse
import sys

from oodbench.cli.arguments import Parser
from oodbench.runs.record import MAIN_SCORES
from oodbench.shipped import PUBLISHED
from oodbench.storage import UnwritableError
from oodbench.tables.columns import DEFAULT_FPR
from oodbench.tables.load import load_runs
from oodbench.tables.overview import overview
from oodbench.tables.paper.style import Style
from oodbench.tables.results import Found
from oodbench.tables.write import (
    CONVENTIONS,
    all_detectors,
    default_detectors,
    write_by,
    write_calibration,
    write_matrix,
    write_paper,
    write_tables,
)

ABOUT = "In percent; means over n seeds, each loss with its own score. The tables have intervals, FPR@95 and tests."


def main() -> None:
    args = arguments()
    try:
        found = load_runs(args.results_dir, args.detectors or (None if args.matrix else MAIN_SCORES))
        write(args, found)
    except (FileNotFoundError, UnwritableError, ValueError) as error:
        raise SystemExit(f"tables: {error}") from error
    runs, unfinished, unreadable = found
    datasets = ", ".join(sorted({run.dataset for run in runs}))
    if not (args.by or args.matrix or args.calibration or args.style):
        print(overview(runs), ABOUT, sep="\n\n")
    print(f"finished: {len(runs)}, unfinished: {unfinished}; tables of {datasets} in {args.results_dir}")
    for _, reason in unreadable:
        print(f"left out: {reason}", file=sys.stderr)
    if unreadable:
        raise SystemExit(1)


def arguments() -> argparse.Namespace:
    """Return what the command line says. Options that exclude one another end the command."""
    parser = Parser(__doc__)
    parser.add_results_dir("reads PATH/runs, writes the tables to PATH")
    words = f"which FPR@95, default: {DEFAULT_FPR}; runs.csv has both"
    parser.add_argument("--fpr", choices=CONVENTIONS, help=words)
    parser.add_argument(
        "--detectors", nargs="+", help=f"the scores to show; {' '.join(MAIN_SCORES)}, in the matrix all"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--by", nargs="+", metavar="KEY", help="keys such as loss.tau, a row per value")
    what.add_argument("--matrix", action="store_true", help="every loss with every detector, by OOD set")
    what.add_argument("--calibration", action="store_true", help="calibration before and after temperature scaling")
    what.add_argument("--style", choices=["paper"], help="LaTeX as papers print it: <dataset>.paper.tex")
    of_paper = parser.add_argument_group("with --style paper")
    of_paper.add_argument("--losses", nargs="+", default=[], help="losses, as in conf/loss")
    of_paper.add_argument("--sets", nargs="+", default=[], help="OOD sets; near and far are their means")
    of_paper.add_argument("--metrics", nargs="+", default=[], help="accuracy, ece, auroc, fpr95")
    of_paper.add_argument("--columns", nargs="+", default=[], help="in this order: accuracy ece near:auroc svhn:fpr95")
    of_paper.add_argument("--digits", type=int, choices=range(5), help="after the point; default: 2")
    of_paper.add_argument("--intervals", action="store_true", help="print 95 %% intervals, too")
    args = parser.parse_args()
    of_style = (args.losses, args.sets, args.metrics, args.columns, args.intervals, args.digits is not None)
    if not args.style and any(of_style):
        parser.error("--losses, --sets, --metrics, --columns, --digits and --intervals are for --style paper")
    if args.calibration and (args.detectors or args.fpr):
        parser.error("--calibration shows neither scores nor FPR@95: leave --detectors and --fpr out")
    args.fpr = args.fpr or DEFAULT_FPR
    if args.columns and (args.sets or args.metrics):
        parser.error("--columns stands in the place of --sets and --metrics")
    return args


def write(args: argparse.Namespace, found: Found) -> None:
    """Write the tables that are asked for. Raises ValueError for a detector or a key that no run has."""
    runs, _, unreadable = found
    detectors = args.detectors or (all_detectors(runs) if args.matrix else default_detectors(runs))
    if args.style:
        digits = Style().digits if args.digits is None else args.digits
        style = Style(args.losses, args.sets, args.metrics, args.columns, digits, args.intervals)
        for file in write_paper(args.results_dir, runs, args.fpr, detectors, style):
            print(file)
    elif args.by:
        write_by(args.results_dir, runs, args.fpr, detectors, args.by, unreadable)
    elif args.calibration:
        write_calibration(args.results_dir, runs, unreadable)
    elif args.matrix:
        write_matrix(args.results_dir, runs, args.fpr, detectors, unreadable)
    else:
        write_tables(args.results_dir, runs, PUBLISHED, args.fpr, detectors, unreadable)
