"""A whole small run, the shares of its stages, and what a command costs before it does anything."""

import importlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmarks import plain
from benchmarks.contest import Actions, Seconds, contest, number, ratio
from benchmarks.network import sgd
from benchmarks.sections import ROOT, Section, Target, composed, objective_of
from oodbench.backbones.resnet18 import ResNet18
from oodbench.losses.objective import Objective
from oodbench.outputs import Outputs
from oodbench.runs.folder import Run
from oodbench.training.device import pick_device

STAGES = {  # function of a module that train.py calls -> what it is called here
    ("train", "open_sets"): "opening the sets",
    ("train", "build"): "building the network",
    ("oodbench.training.loop", "fit"): "training",
    ("oodbench.model", "features_of"): "a pass over every set",
    ("oodbench.evaluation.evaluate", "evaluate"): "detectors, metrics, bootstrap",
}


def settings(root: str, small: bool) -> list[str]:
    """Real images where they are."""
    if not Path(root, "cifar10", "test.parquet").is_file():
        return ["dataset=digits", "recipe=smoke", "loss=ce"]
    images = 128 if small else 1024
    sets = ["dataset=cifar10", "ood=[cifar100,mnist]", f"dataset.limit={images}", f"dataset.limit_test={images // 2}"]
    return [*sets, f"data_root={root}", "recipe=smoke", "loss=ce"]


def plain_run(overrides: list[str]) -> Actions:
    """Train, then for every detector a pass over the test set and every OOD set. No resampling."""
    cfg = composed(*overrides)
    detectors = {name: instantiate(node) for name, node in cfg.detector.items()}

    sys.path.insert(0, str(ROOT))
    train = importlib.import_module("train")

    def run() -> None:
        sets = train.open_sets(cfg)
        network: torch.nn.Module = ResNet18(64)
        objective: Objective = objective_of("ce", 512, cfg.dataset.num_classes)
        optimizer = sgd([*network.parameters(), *objective.parameters()])
        for _ in range(cfg.recipe.epochs):
            plain.train_epoch(network, objective, optimizer, sets.train.images, sets.train.labels)
        for detector in detectors.values():
            scores = {}
            for name, split in {"test": sets.test, **sets.ood}.items():
                features = plain.features(network, split.images)
                logits = objective.logits(features).detach()
                log_probs, score = objective.log_probs(logits), objective.ood_score(logits)
                f, z, p, s = (tensor.numpy() for tensor in (features, logits, log_probs, score))
                scores[name] = detector(Outputs(f, z, p, s, split.labels), None)
            for name in sets.ood:
                plain.ood_metrics(scores["test"], scores[name])

    return {"run": run}


def our_run(overrides: list[str], report: Path) -> Actions:
    """Leaves the seconds of its stages, a line a run, in `report`."""
    sys.path.insert(0, str(ROOT))
    train = importlib.import_module("train")
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments, **options)
            seconds[name] += time.perf_counter() - start
            return result

        return wrapped

    for (module, function), name in STAGES.items():
        owner = importlib.import_module(module)
        setattr(owner, function, timed(name, getattr(owner, function)))

    def run() -> None:
        seconds.clear()
        with tempfile.TemporaryDirectory() as folder:
            cfg = composed(*overrides, f"results_dir={folder}")
            config: Any = OmegaConf.to_container(cfg, resolve=True)
            with redirect_stdout(StringIO()):
                train.execute(cfg, Run(config), [pick_device(cfg.device)])
        with report.open("a") as file:
            file.write(",".join(str(seconds[name]) for name in STAGES.values()) + "\n")

    return {"run": run}


def sections(root: str, repeats: int, small: bool) -> list[Section]:
    """(g), and starting up"""
    overrides = settings(root, small)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "stages")
        ways = {"plain": (plain_run, overrides), "ours": (our_run, overrides, report)}
        spent = contest(ways, [("plain", "run"), ("ours", "run")], repeats, warm=True)
        lines = [[float(cell) for cell in line.split(",")] for line in report.read_text().splitlines()][1:]
    return [whole(spent, lines, overrides), starting(repeats)]


def whole(spent: Seconds, lines: list[list[float]], overrides: list[str]) -> Section:
    slow, fast = spent["plain", "run"], spent["ours", "run"]
    total = statistics.median(fast)
    repeats = [[*stages, whole - sum(stages)] for stages, whole in zip(lines, fast, strict=True)]
    stages = [statistics.median(column) for column in zip(*repeats, strict=True)]
    names = [*STAGES.values(), "everything else: files, digests, intervals, configuration"]
    rows = [["all of it", number(statistics.median(slow)), number(total), str(ratio(slow, fast)), "100 %"]]
    rows += [[n, "", number(s), "", f"{100 * s / total:.1f} %"] for n, s in zip(names, stages, strict=True)]
    shown = " ".join(part for part in overrides if not part.startswith("data_root"))
    return Section(
        "(g) A whole small run",
        f"`python train.py {shown}` without its imports, in a new folder each time. Plain: the plain loop, then a pass "
        "over the test set and every OOD set for each of the four detectors, scikit-learn, no resampling, nothing "
        "stored.",
        ["seconds", "plain", "ours", "ratio (range)", "share"],
        rows,
    )


def starting(repeats: int) -> Section:
    python = [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        finished = [*python, "train.py", "dataset=digits", "recipe=smoke", "backbone.width=2", f"results_dir={folder}"]
        commands = {
            "`python train.py --help`": [*python, "train.py", "--help"],
            "`python train.py --cfg job`": [*python, "train.py", "--cfg", "job"],
            "a finished run's command": finished,
            '`python -c "import oodbench"`': [*python, "-c", "import oodbench"],
            '`python -c "import torch"`, to compare': [*python, "-c", "import torch"],
            "`python -c pass`, the limit": [*python, "-c", "pass"],
        }
        subprocess.run(finished, cwd=ROOT, check=True, capture_output=True)
        spent: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(2 * repeats + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
                spent[name].append(time.perf_counter() - start)
    rows = [[n, number(statistics.median(s)), number(min(s)), number(max(s))] for n, s in spent.items()]
    slowest = max(statistics.median(spent[name]) for name in list(commands)[:3])
    return Section(
        "Starting up",
        f"Each command in turn, {2 * repeats + 1} times.",
        ["seconds", "median", "least", "most"],
        rows,
        {
            "starting up: the slowest of --help, --cfg job and a finished run's command, seconds": Target(
                slowest, 1.0, most=True
            )
        },
    )
