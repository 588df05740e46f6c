"""Score finished runs again, from their stored outputs:  python scripts/evaluate.py RUN... detector=all

RUN is a run's folder, or one that has runs below it (results). What follows chooses and sets detectors as for train.py:
detector=[energy,knn] detector.energy.temperature=0.1. The numbers are added to each run's metrics.json. --select also
scores detectors with the hyperparameters that are best on the run's validation images (conf/select has the grids).
"""

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = Path(__file__).resolve().parents[1] / "conf"


def main() -> None:
    parser = argparse.ArgumentParser(description="Score finished runs again, from their stored outputs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder, or one above it; and detector=...")
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count(), help="runs at a time (default: one a core)")
    parser.add_argument("--select", action="store_true", help="choose hyperparameters on held-out images, too")
    args = parser.parse_args()
    overrides = [argument for argument in args.runs if "=" in argument and not Path(argument).exists()]
    paths = [Path(argument) for argument in args.runs if argument not in overrides]
    if other := [override for override in overrides if not override.lstrip("+~").startswith("detector")]:
        parser.error(f"{' '.join(other)}: only detectors can be chosen for runs that are trained")
    folders = sorted({file.parent for path in paths for file in path.rglob("metrics.json")})
    if not folders:
        parser.error(f"no finished run below {', '.join(map(str, paths)) or 'nothing: name a run or results'}")
    failed = 0
    jobs = min(args.jobs, len(folders))
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    detector, grids = detectors(overrides), {}
    if args.select:
        grids = {file.stem: yaml.safe_load(file.read_text()) for file in (CONF / "select").glob("*.yaml")}
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        waiting = {pool.submit(timed, folder, detector, grids): folder for folder in folders}
        for future in as_completed(waiting):
            try:
                print(future.result(), flush=True)
            except Exception as error:  # told, counted, and no reason to leave the other runs unscored
                failed += 1
                print(f"{waiting[future]}: {type(error).__name__}: {error}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(folders)} runs could not be scored")


def detectors(overrides: list[str]) -> dict[str, Any]:
    """{name: configuration}, as train.py would have it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides)
    chosen: Any = OmegaConf.to_container(cfg.detector, resolve=True)
    return chosen


def timed(folder: Path, detector: dict[str, Any], grids: dict[str, Any]) -> str:
    from oodbench.scoring import rescore

    started = time.perf_counter()
    numbers = rescore(folder, detector, grids)
    without = [name for name in detector if name in numbers["not_applicable"]]
    seconds = time.perf_counter() - started
    note = f"; not applicable: {', '.join(without)}" if without else ""
    return f"{folder}: {len(detector)} detectors, {len(numbers['ood'])} OOD sets, {seconds:.0f} s{note}"


if __name__ == "__main__":
    main()
