"""Compare two finished runs, or two scores of one: every difference A - B, and which are more than chance.

python scripts/compare.py RUN_A RUN_B [--detector ood_score] [--detector-b energy]
python scripts/compare.py RUN --detector ood_score --detector-b energy

RUN is a run's folder, results/runs/<dataset>/<backbone>/<loss>/<recipe>-<hash>/seed0, or the one above its seeds.
"""

from pathlib import Path

from oodbench.cli.arguments import Parser
from oodbench.runs.record import OWN_SCORE
from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables.comparison_text import report


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("a", type=Path, metavar="RUN_A", help="a run's folder, or the one above its seeds")
    parser.add_argument("b", type=Path, metavar="RUN_B", nargs="?", help="another; default: the same")
    parser.add_argument("--detector", default=OWN_SCORE, help=f"the detector that scores A; default: {OWN_SCORE}")
    parser.add_argument("--detector-b", help="the detector that scores B; default: A's")
    args = parser.parse_args()
    detector_b = args.detector_b or args.detector
    try:
        a, b = load_side(args.a), load_side(args.b or args.a)
        pairs = pairs_of(a, b)
        found = compare_runs(pairs, args.detector, detector_b)
        print(report(pairs, args.detector, detector_b, found, alone=a.keys() ^ b.keys()))
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f"compare: {error}") from error
