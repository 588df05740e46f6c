"""Score finished runs again, from their stored outputs:  python scripts/evaluate.py detector=all

It scores all runs below results, or below results_dir=PATH, or those that are named: a RUN is a run's folder or one
above it. Further arguments choose and set detectors as for train.py: 'detector=[energy,knn]'
detector.energy.temperature=0.1; without any, all scores that a run has are computed again. The numbers are added to
each run's metrics.json. --select also scores detectors with the hyperparameters that are best on the run's held-out
images (conf/select has the grids). 'image_detector=[odin]' opens the images again and passes them through the network;
nothing is trained.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from oodbench.cli.arguments import Parser
from oodbench.cli.errors import UsageError, plain_warnings
from oodbench.cli.plan import plan
from oodbench.runs.paths import METRICS
from oodbench.runs.training_files import usable_cores
from oodbench.shipped import conf_files


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run's folder, or one above it; and detector=...")
    parser.add_results_dir("where no RUN is named, all below it")
    parser.add_argument("-j", "--jobs", type=int, default=usable_cores(), help="runs at a time (default: one per core)")
    parser.add_argument("--select", action="store_true", help="choose hyperparameters on held-out images, too")
    args = parser.parse_intermixed_args()  # -j 2 may stand between RUN and detector=...
    if args.jobs < 1:
        parser.error(f"--jobs {args.jobs}: a number from 1 on is needed")
    overrides = [argument for argument in args.runs if "=" in argument and not os.path.exists(argument)]  # noqa: PTH110 - a list of detectors may be too long for a path
    paths = [Path(argument) for argument in args.runs if argument not in overrides] or [args.results_dir]
    below = {path: [file.parent for file in path.rglob(METRICS)] for path in paths}
    if without := [str(path) for path, found in below.items() if not found]:
        parser.error(f"no finished run below {', '.join(without)}")
    folders = sorted({folder for found in below.values() for folder in found})
    if args.select and not overrides:
        parser.error("--select: name the detectors, such as detector=all")
    try:
        detector, image_detector = detectors(overrides) if overrides else (None, {})
    except (ValueError, UsageError) as error:
        parser.error(str(error))
    grids = {name: yaml.safe_load(file.read_text("utf-8")) for name, file in conf_files("select").items()}
    failed = rescore_all(folders, args.jobs, detector, image_detector, grids if args.select else None)
    if failed:
        raise SystemExit(f"{failed} of {len(folders)} runs could not be scored")


def rescore_all(folders: Sequence[Path], jobs: int, *work: Any) -> int:
    """Score runs in so many processes and print a line about each; return how many could not be scored."""
    jobs, failed = min(jobs, len(folders)), 0
    os.environ["OMP_NUM_THREADS"] = str(max(1, usable_cores() // jobs))
    with ProcessPoolExecutor(jobs, get_context("spawn"), plain_warnings) as pool:
        waiting = {pool.submit(rescored, folder, *work): folder for folder in folders}
        for future in as_completed(waiting):
            try:
                print(future.result(), flush=True)
            except Exception as error:  # told, counted, and no reason to leave the other runs unscored
                failed += 1
                print(f"{waiting[future]}: {type(error).__name__}: {error}", flush=True)
    return failed


def detectors(overrides: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the detectors and the image detectors that train.py would have. Raises ValueError for another key.

    Where image detectors alone are chosen, they are all: others may stand in the record with settings of their own.
    """
    if other := [o for o in overrides if not o.lstrip("+~").startswith(("detector", "image_detector"))]:
        raise ValueError(f"{' '.join(other)}: only detectors can be chosen for runs that are trained")
    if overrides and not any(o.lstrip("+~").startswith("detector") for o in overrides):
        overrides = [*overrides, "detector=[]"]
    (config,), _ = plan(overrides)
    return config["detector"], config["image_detector"]


def rescored(folder: Path, detector: dict[str, Any] | None, image_detector: dict[str, Any], grids: Any) -> str:
    """Score one run; return a line about it."""
    from oodbench.scoring.rescore import rescore  # brings torch, which --help does not need

    record = rescore(folder, detector, image_detector, grids)
    asked = [*(detector or {}), *image_detector]
    without = [name for name in asked if name in record["not_applicable"]]
    note = f"; not applicable: {', '.join(without)}" if without else ""
    for ood, found in record["ood"].items():
        if missing := [name for name in image_detector if name not in found and name not in without]:
            note += f"; {', '.join(missing)} not on {ood}, whose images are not where config.yaml says"
    return f"{folder}: scored by {', '.join(asked) or 'all its detectors'} on {', '.join(record['ood'])}{note}"
