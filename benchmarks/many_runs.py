"""Measure the commands that read many runs -> benchmarks/results/many_runs.md

python benchmarks/many_runs.py            about 3 minutes, 4 GB of disk

2,000 made-up finished runs: ten losses, eight learning rates, 25 seeds, six OOD sets, four detectors, 1,000 resamples
of every number; and the plan of 200 runs on the digits, of which none starts.
"""

import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from oodbench.cli.configuration import compose, resolve
from oodbench.evaluation.evaluate import intervals
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.record import requested
from page import Section, argument_parser, number, write_page
from project import names

ROOT = Path(__file__).resolve().parent.parent
DETECTORS = ("ood_score", "msp", "energy", "knn")
NEAR, FAR = ("cifar100", "tiny_imagenet"), ("svhn", "mnist", "textures", "places365")
RESAMPLES = 1000
COLUMNS = ["CPU seconds", "seconds", "MB, highest resident memory"]


def make_runs(results: Path, losses: int, rates: int, seeds: int) -> int:
    """Write finished runs as a training leaves them, without weights and outputs; return how many."""
    random = np.random.default_rng(0)
    base = resolve(compose(["dataset=cifar10", f"results_dir={results}", f"ood=[{','.join((*NEAR, *FAR))}]"]))
    places = list(product(names("loss")[:losses], range(rates), range(seeds)))
    for loss, rate, seed in places:
        config = deepcopy(base) | {"seed": seed}
        config["name"]["loss"], config["recipe"]["optimizer"]["lr"] = loss, 0.01 * (rate + 1)
        write_run(config, random)
    return len(places)


def write_run(config: Config, random: np.random.Generator) -> None:
    """Write one finished run of made-up numbers near 0.9."""
    folder, sets = RunFolder.of(config), (*NEAR, *FAR)
    values: dict[str, Any] = {name: share(random) for name in ID_METRICS}
    scored = [name for name, metric in OOD_METRICS.items() if not metric.of_probabilities]
    values["ood"] = {ood: {d: {name: share(random) for name in scored} for d in DETECTORS} for ood in sets}
    calibration: dict[str, Any] = {name: share(random) for name in CALIBRATION_METRICS}
    values["calibration"] = {"own": calibration, "temperature_scaled": calibration | {"temperatures": [1.5, 1.6]}}
    values["not_applicable"] = {}
    found = {name: values[name] for name, metric in ID_METRICS.items() if metric.resampled}
    for ood, d, name in product(sets, DETECTORS, scored):
        if OOD_METRICS[name].resampled:
            found[f"{ood}/{d}/{name}"] = values["ood"][ood][d][name]
    noise = 0.003 * random.normal(size=RESAMPLES)
    resamples = {name: np.clip(value + random.uniform(0.5, 1) * noise, 0, 1) for name, value in found.items()}
    request = requested(config)
    values["provenance"] = {
        **{"images": dict.fromkeys(("train", "test", *sets), 10_000), "precision": "bf16", "near": [*NEAR]},
        **{"digests": {name: name for name in ("train", "test", *sets)}, "ood": request.ood},
        "detector": {name: {} for name in DETECTORS},
    }
    folder.write_config(config)
    folder.write_history([{"epoch": epoch, "loss": 0.5} for epoch in range(1, 201)])
    folder.write_training({"precision": "bf16"}, {"weights": random.normal(size=9)}, "digest")
    folder.write_record(values | {"intervals": intervals(values, resamples)}, resamples)


def share(random: np.random.Generator) -> float:
    return float(np.clip(0.9 + 0.01 * random.normal(), 0, 1))


def cost(*command: str) -> list[str]:
    """Run a command alone; return the values of COLUMNS."""
    child = [sys.executable, "-c", MEASURED, *command]
    done = subprocess.run(child, cwd=ROOT, check=True, capture_output=True, text=True)
    return [number(float(value)) for value in done.stdout.split()]


PLANNED = """
import sys
from oodbench.cli.checks import check_buildable
from oodbench.cli.plan import plan
check_buildable(plan(sys.argv[1:])[0])
"""
MEASURED = """
import resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run([sys.executable, *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, time.perf_counter() - start, used.ru_maxrss / 1000)
"""


def main() -> None:
    args = argument_parser(__doc__, "many_runs.md").parse_args()
    with TemporaryDirectory() as folder:
        results = Path(folder)
        count = make_runs(results, *((2, 1, 2) if args.small else (10, 8, 25)))
        seeds = 1 if args.small else 20
        runs = seeds * len(names("loss"))
        grid = ["-m", "loss=glob(*)", "dataset=digits", "ood=[noise]", f"seed=range({seeds})"]
        commands: Mapping[str, list[str]] = {
            f"status.py, {count:,} runs": ["scripts/status.py", "--results-dir", folder],
            f"tables.py, {count:,} runs": ["scripts/tables.py", "--results-dir", folder],
            f"{runs} runs planned and checked": ["-c", PLANNED, *grid],
            f"{runs} runs, dry_run=true: their data opened, too": ["train.py", *grid, "dry_run=true"],
        }
        rows = [[what, *cost(*command)] for what, command in commands.items()]
    write_page(args.output, "Many runs", "", [Section("Commands", "", ["", *COLUMNS], rows)])


if __name__ == "__main__":
    main()
