"""How time and memory grow with the training images, the classes, the detectors, the images judged and the batch.

python scripts/growth.py            # about 10 minutes, 6 GB; --small: does it run?
writes results/growth.md and results/growth.png

Synthetic outputs (benchmarks/synthetic.py) stand for a network's. Each figure is of a forked process of its own
(benchmarks.forked.py): the seconds of the fastest run, and the highest resident memory less that before the first.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from benchmarks.forked import Action, Cost, measured
from benchmarks.growth_page import Costs, draw, table
from benchmarks.network import LOSSES
from benchmarks.sections import ROOT, composed
from benchmarks.synthetic import Problem, forward_and_backward, problem
from hydra.utils import instantiate
from omegaconf import OmegaConf

from oodbench.evaluation.bootstrap import resampled_id, resampled_ood
from oodbench.evaluation.calibration import calibration
from oodbench.evaluation.evaluate import Detector, evaluate, scores_of
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.outputs import concatenate
from oodbench.training.device import processor

Measure = Callable[[Action, Action], Cost | str]


class Sizes(NamedTuple):
    features: list[int]  # training images N, of `fixed_classes`
    classes: list[int]  # K, of `fixed_features`
    detectors: list[int]  # how many at once, in the order of conf/detector/all.yaml
    images: list[int]  # ID, and as many OOD, for metrics and bootstrap
    batch: list[int]  # B of the losses
    fixed_features: int
    fixed_classes: int
    fixed_batch: int
    judged: int  # images that the detectors score


FULL = Sizes(
    features=[10_000, 30_000, 100_000, 300_000, 1_000_000],
    classes=[10, 100, 1000],
    detectors=[1, 5, 10, 20, 31],
    images=[1000, 3000, 10_000, 30_000, 100_000],
    batch=[128, 512, 2048, 8192],
    fixed_features=50_000,
    fixed_classes=100,
    fixed_batch=128,
    judged=2000,
)
SMALL = Sizes([300, 600], [5, 10], [1, 31], [100, 200], [16, 32], 300, 5, 16, 100)


def configured() -> tuple[dict[str, Detector], dict[str, Any]]:
    """-> every detector of conf/detector as train.py makes it; {name: configuration} of every loss and its variants."""
    detectors = {name: instantiate(node) for name, node in composed("detector=all").detector.items()}
    losses = {name: composed(f"loss={name}").loss for name in LOSSES}
    for variant in ("pairwise_global", "pairwise_per_anchor"):
        losses[f"circle {variant}"] = OmegaConf.merge(losses["circle"], {"variant": variant})
    losses["halo notes"] = OmegaConf.merge(losses["halo"], {"variant": "notes"})
    return detectors, losses


def of_detectors(made: Problem, little: Problem, detectors: dict[str, Detector], measure: Measure) -> dict[str, Any]:
    """{detector: cost of scoring the judged images}"""
    images, few = (concatenate([each.test, each.ood]) for each in (made, little))
    return {
        name: measure(partial(scores_of, d, images, made.reference), partial(scores_of, d, few, little.reference))
        for name, d in detectors.items()
    }


def of_evaluate(made: Problem, little: Problem, detectors: dict[str, Detector], measure: Measure) -> dict[str, Any]:
    """The numbers, calibration and resamples of one run with these detectors, one OOD set."""
    run, warm_up = (partial(evaluate, p.test, {"ood": p.ood}, detectors, p.reference) for p in (made, little))
    return {"evaluate": measure(run, warm_up)}


def of_images(made: Problem, little: Problem, measure: Measure) -> dict[str, Any]:
    """Of one detector and one OOD set."""

    def metrics(p: Problem) -> None:
        for metric in OOD_METRICS.values():
            metric(p.test.ood_score, p.ood.ood_score)

    def bootstrap(p: Problem) -> None:
        resampled_ood({"ood_score": p.test.ood_score}, {"native": p.ood.ood_score})

    work: dict[str, Callable[[Problem], object]] = {
        "OOD metrics of a detector": metrics,
        "their bootstrap": bootstrap,
        "calibration": lambda p: calibration(p.test, seed=0),
        "bootstrap of accuracy, ECE, NLL, Brier": lambda p: resampled_id(p.test.log_probs, p.test.labels),
    }
    return {name: measure(partial(action, made), partial(action, little)) for name, action in work.items()}


def of_losses(B: int, K: int, D: int, losses: dict[str, Any], measure: Measure) -> dict[str, Any]:
    """{loss: cost of a forward and backward pass through the objective}"""
    rng = np.random.default_rng(0)
    features, labels = np.maximum(rng.standard_normal((B, D), dtype="f4"), 0), rng.integers(K, size=B)

    def cost(loss: Any) -> Cost | str:
        objective = cache(lambda: instantiate(loss, num_features=D, num_classes=K))  # made by the warm-up
        of = [lambda n=n: forward_and_backward(objective(), features[:n], labels[:n]) for n in (B, 16)]
        return measure(*of)

    return {name: cost(loss) for name, loss in losses.items()}


def sweep(sizes: Sizes, D: int, measure: Measure) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """-> (axis, size, {what: cost})"""
    detectors, losses = configured()
    N, K, M = sizes.fixed_features, sizes.fixed_classes, sizes.judged
    little = problem(300, 5, D, 100)
    for size in sizes.classes:
        yield "classes", size, of_detectors(problem(N, size, D, M), little, detectors, measure)
        yield "classes of a loss", size, of_losses(sizes.fixed_batch, size, D, losses, measure)
    for size in sizes.batch:
        yield "batch", size, of_losses(size, K, D, losses, measure)
    made = problem(N, K, D, M)
    for size in sizes.detectors:
        yield "detectors", size, of_evaluate(made, little, dict(list(detectors.items())[:size]), measure)
    for size in sizes.images:
        yield "images", size, of_images(problem(K, K, D, 2 * size), little, measure)
    del made
    for size in sizes.features:
        yield "features", size, of_detectors(problem(size, K, D, M), little, detectors, measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=120, help="seconds that a figure may take, else it is left out")
    parser.add_argument("--memory", type=float, default=8, help="GB beyond its input that a figure may take")
    parser.add_argument("--dimensions", type=int, default=512, help="features of an image")
    parser.add_argument("--features", type=int, nargs="+", help="numbers of training images instead of 10,000 to 1M")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to see that it runs")
    parser.add_argument("--folder", type=Path, default=ROOT / "results", help="where growth.md and growth.png go")
    args = parser.parse_args()
    sizes = SMALL if args.small else FULL
    sizes = sizes._replace(features=args.features or sizes.features)
    measure = partial(measured, limit=args.limit, memory=args.memory * 1e9)
    costs: Costs = {}
    for axis, size, row in sweep(sizes, args.dimensions, measure):
        print(
            f"{axis} {size:,}: {sum(cost.seconds for cost in row.values() if isinstance(cost, Cost)):.1f} s", flush=True
        )
        for what, cost in row.items():
            costs.setdefault(axis, {}).setdefault(what, {})[size] = cost
    machine = f"{processor()}, {torch.get_num_threads()} thread(s)"
    args.folder.mkdir(parents=True, exist_ok=True)
    fixed = sizes._asdict() | {"dimensions": args.dimensions, "limit": args.limit, "memory": args.memory}
    (args.folder / "growth.md").write_text(table(costs, fixed, machine), "utf-8")
    draw(costs, args.folder / "growth.png", machine)
    print(args.folder / "growth.md")


if __name__ == "__main__":
    main()
