"""Draw every finished run: results/report.html, which needs no network; or the page of one run; or vector figures.

python scripts/report.py [results_dir=results] [--out results/report.html]
python scripts/report.py RUN                            # RUN/report.html: one run, with its command and citation
python scripts/report.py --figures DIR --format pdf,svg # the figures for a paper, in its column widths
"""

import argparse
import os
import shlex
import sys
import webbrowser
from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.report.material import Material, all_runs, read_material, read_one
from oodbench.report.page.build import report_html
from oodbench.report.page.run import run_html
from oodbench.report.vector import FORMATS, write_figures
from oodbench.runs.record import MAIN_SCORES
from oodbench.shipped import PUBLISHED
from oodbench.storage import write_atomic
from oodbench.tables.published import load_published
from oodbench.tables.write import chosen_detectors


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("run", type=Path, nargs="?", metavar="RUN", help="a run's folder: the page of this run alone")
    parser.add_results_dir("reads PATH/runs, writes PATH/report.html")
    parser.add_argument("--out", type=Path, help="the file to write")
    parser.add_argument(
        "--detectors", nargs="+", help=f"the scores of the main table; default: {' '.join(MAIN_SCORES)}"
    )
    parser.add_argument("--figures", type=Path, metavar="DIR", help="write the figures as vector files instead")
    parser.add_argument("--open", action="store_true", help="show the page, if a display is available")
    parser.add_argument("--format", help=f"of the figures, separated by commas: {', '.join(FORMATS)}; default: pdf")
    args = parser.parse_args()
    if args.format and not args.figures:
        parser.error("--format is for --figures DIR")
    if args.figures and (args.out or args.detectors or args.open):
        parser.error("--out, --detectors and --open are for the page: leave them or --figures out")
    args.format = args.format or "pdf"
    try:
        (write_run if args.run else write_report)(args)
    except (OSError, ValueError) as error:
        raise SystemExit(f"report: {error}") from error


def write_run(args: argparse.Namespace) -> None:
    """Write the page, or the figures, of one run."""
    section = read_one(args.run.absolute())
    if args.figures:
        return done(write_figures([section], args.figures, args.format.split(",")))
    out = args.out or args.run / "report.html"
    detectors = chosen_detectors(section.results, args.detectors)
    write_atomic(
        out, run_html(section, detectors, f"python scripts/report.py {shlex.quote(str(args.run))}{_detectors(args)}")
    )
    done([out], args.open)


def write_report(args: argparse.Namespace) -> None:
    """Write the page, or the figures, of all runs; status 1 where runs are left out."""
    material = read_material(args.results_dir, args.detectors or MAIN_SCORES, progress)
    if args.figures:
        done(write_figures(material.sections, args.figures, args.format.split(",")))
    else:
        out = args.out or args.results_dir / "report.html"
        write_atomic(out, page(material, args))
        done([out], args.open)
    for line in material.left_out:
        print(f"left out: {line}", file=sys.stderr)
    if material.left_out:
        raise SystemExit(1)


def page(material: Material, args: argparse.Namespace) -> str:
    detectors = chosen_detectors([run.result for run in all_runs(material.sections)], args.detectors)
    options = f" {shlex.quote(f'results_dir={args.results_dir}')}" if args.results_dir != Path("results") else ""
    return report_html(
        material, detectors, load_published(PUBLISHED), f"python scripts/report.py{options}{_detectors(args)}"
    )


def _detectors(args: argparse.Namespace) -> str:
    return f" --detectors {shlex.join(args.detectors)}" if args.detectors else ""


def progress(line: str) -> None:
    """Say on a terminal which run is being read."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def done(files: list[Path], show: bool = False) -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    for file in files:
        print(f"{file} ({file.stat().st_size / 1000:,.0f} kB)")
    has_screen = sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if show and has_screen:  # without one a browser in text mode would take the terminal
        webbrowser.open(files[0].absolute().as_uri())
