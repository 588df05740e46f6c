"""Measure how time and memory grow with images, classes, detectors and batch -> benchmarks/results/growth.md and .png

python benchmarks/growth.py            about 10 minutes, 6 GB; Linux only

Synthetic outputs (synthetic.py) stand for a network's. Every choice of conf/loss and conf/detector appears by itself.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra.utils import instantiate

from growth_plot import draw
from growth_theory import DETECTORS, EVALUATION, LOSSES, Growth
from oodbench.cli.configuration import compose
from oodbench.evaluation.evaluate import Detector, evaluate
from oodbench.outputs import concatenate
from page import Section, argument_parser, write_page
from project import all_detectors, names
from synthetic import Problem, forward_and_backward, problem
from timing import Action, Cost, measure

Series = dict[int, Cost | str]  # {size: cost, or why there is none}
Rows = dict[str, Cost | str]
Measure = Callable[[Action, Action], Cost | str]
LEAST = {"seconds": 0.002, "memory": 2e6}  # below it a figure is noise, and so is the slope of two such figures
HEADINGS = {  # axis: the size, the section's title
    "features": ("N, training images", "Detectors against the training images"),
    "classes": ("K, classes", "Detectors against the classes"),
    "detectors": ("n, detectors at once", "An evaluation against the number of detectors"),
    "images": ("M, ID images judged", "An evaluation against the images judged, as many OOD as ID"),
    "classes of a loss": ("K, classes of a loss", "Losses, forward and backward, against the classes"),
    "batch": ("B, batch of a loss", "Losses, forward and backward, against the batch"),
}


class Sizes(NamedTuple):
    features: list[int]  # training images N
    classes: list[int]  # K
    detectors: list[int]  # how many at once, in the order of their names
    images: list[int]  # ID, and as many OOD
    batch: list[int]  # B of the losses
    held: tuple[int, int, int]  # N, K, B where another size grows
    judged: int  # images that the detectors score


FULL = Sizes(
    features=[10_000, 30_000, 100_000, 300_000, 1_000_000],
    classes=[10, 100, 1000],
    detectors=[1, 5, 10, 20, 30],
    images=[1000, 3000, 10_000, 30_000, 100_000],
    batch=[128, 512, 2048, 8192],
    held=(50_000, 100, 128),
    judged=2000,
)
SMALL = Sizes([300, 600], [5, 10], [1, 10], [100, 200], [16, 32], (300, 5, 16), 100)


def all_losses() -> dict[str, Any]:
    """{overrides: configuration} of every loss, and of those variants that growth_theory.py lists"""
    variants = [line for line in LOSSES if line not in names("loss") and line.split()[0] in names("loss")]
    return {line: compose(f"loss={line}".split()).loss for line in [*names("loss"), *variants]}


def of_detectors(full: Problem, few: Problem, detectors: Mapping[str, Detector], measure: Measure) -> Rows:
    """{detector: cost of scoring the judged images}"""
    images, some = (concatenate([each.test, each.ood]) for each in (full, few))
    return {
        name: measure(partial(score, images, full.reference), partial(score, some, few.reference))
        for name, score in detectors.items()
    }


def of_evaluate(full: Problem, few: Problem, detectors: Mapping[str, Detector], measure: Measure) -> Cost | str:
    return measure(*(partial(evaluate, p.test, {"ood": p.ood}, detectors, p.reference) for p in (full, few)))


def of_losses(B: int, K: int, D: int, losses: Mapping[str, Any], measure: Measure) -> Rows:
    """{loss: cost of a forward and backward pass through the objective}"""
    rng = np.random.default_rng(0)
    features, labels = np.maximum(rng.standard_normal((B, D), dtype="f4"), 0), rng.integers(K, size=B)

    def cost(loss: Any) -> Cost | str:
        objective = cache(lambda: instantiate(loss, num_features=D, num_classes=K))  # built by the warm-up
        step, warm_up = (lambda n=n: forward_and_backward(objective(), features[:n], labels[:n]) for n in (B, 16))
        return measure(step, warm_up)

    return {name: cost(loss) for name, loss in losses.items()}


def sweep(sizes: Sizes, D: int, measure: Measure) -> Iterator[tuple[str, int, Rows]]:
    """Yield (axis, size, {what: cost})."""
    detectors, losses = all_detectors(), all_losses()
    (N, K, B), M, few = sizes.held, sizes.judged, problem(300, 5, D, 100)
    every, none, own = EVALUATION
    for size in sizes.classes:
        yield "classes", size, of_detectors(problem(N, size, D, M), few, detectors, measure)
        yield "classes of a loss", size, of_losses(B, size, D, losses, measure)
    for size in sizes.batch:
        yield "batch", size, of_losses(size, K, D, losses, measure)
    full = problem(N, K, D, M)
    for size in sizes.detectors:
        some = dict(list(detectors.items())[:size])
        yield "detectors", size, {every: of_evaluate(full, few, some, measure)}
    for size in sizes.images:
        full = problem(K, K, D, 2 * size)
        stored: dict[str, Detector] = {"stored": lambda images, reference: images.ood_score}
        rows = {none: of_evaluate(full, few, {}, measure), own: of_evaluate(full, few, stored, measure)}
        yield "images", size, rows
    del full
    for size in sizes.features:
        yield "features", size, of_detectors(problem(size, K, D, M), few, detectors, measure)


def exponent(series: Series, field: str) -> str:
    """p where the figure is c size^p: the slope of the logarithms between the two largest sizes"""
    values = {size: getattr(cost, field) for size, cost in series.items() if isinstance(cost, Cost)}
    sizes = sorted(values)[-2:]
    if len(sizes) < 2 or min(values[size] for size in sizes) <= LEAST[field]:
        return "·"
    small, large = sizes
    return f"{math.log(values[large] / values[small]) / math.log(large / small):.1f}"


def section(axis: str, rows: Mapping[str, Series]) -> Section:
    sizes = list(next(iter(rows.values())))
    header = ["", "expected time", "expected memory", *(f"s at {size:,}" for size in sizes), "^"]
    header += [*(f"MB at {size:,}" for size in sizes[-2:]), "^"]
    theory = DETECTORS | EVALUATION | LOSSES
    lines = []
    for what, series in rows.items():
        s = [f"{c.seconds:.2g}" if isinstance(c, Cost) else c for c in series.values()]
        mb = [f"{c.memory / 1e6:.0f}" if isinstance(c, Cost) else c for c in list(series.values())[-2:]]
        expected = theory.get(what, Growth("—", "—"))
        lines.append([what, *expected, *s, exponent(series, "seconds"), *mb, exponent(series, "memory")])
    sums = {n: sum(c.seconds for series in rows.values() if isinstance(c := series[n], Cost)) for n in sizes}
    total = "All rows one by one: " + ", ".join(f"{seconds:.3g} s at {n:,}" for n, seconds in sums.items()) + "."
    return Section(HEADINGS[axis][1], total if len(rows) > 2 else "", header, lines, words=3)


def introduction(sizes: Sizes, D: int, limit: float, memory: float, plot: Path) -> str:
    N, K, B = (f"{n:,}" for n in sizes.held)
    return (
        f"Held where another size grows: N {N} training images, K {K} classes, D {D} features, B {B} of a batch, M "
        f"{sizes.judged:,} judged images; {limit:.0f} s and {memory:.0f} GB are the most that a figure may take.\n\n"
        "- Each figure is of a process of its own, after a warm-up on few data: seconds of the fastest of up to five "
        "runs; MB = 10⁶ bytes, highest resident memory less that before the first run, so without the inputs.\n"
        "- `^` is the exponent p of size^p between the two largest sizes. `·`: one of the two figures is below "
        f"{1000 * LEAST['seconds']:.0f} ms or {LEAST['memory'] / 1e6:.0f} MB, which is noise. It is smaller than "
        "expected where the term that grows is not yet the largest.\n"
        "- Expected: R resamples, b rows of a block, which nothing changes; a dash where no formula is listed.\n\n"
        f"![time and memory against every size]({plot.name})"
    )


def main() -> None:
    parser = argument_parser(__doc__, "growth.md")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a figure may take, else it is left out")
    parser.add_argument("--memory", type=float, default=8, help="GB beyond its input that a figure may take")
    parser.add_argument("--dimensions", type=int, default=512, help="features of an image")
    args = parser.parse_args()
    sizes, plot = SMALL if args.small else FULL, args.output.with_suffix(".png")
    costs: dict[str, dict[str, Series]] = {axis: {} for axis in HEADINGS}
    measure_within = partial(measure, limit=args.limit, memory=args.memory * 1e9)
    for axis, size, rows in sweep(sizes, args.dimensions, measure_within):
        print(f"{axis} {size:,}", flush=True)
        for what, cost in rows.items():
            costs[axis].setdefault(what, {})[size] = cost
    text = introduction(sizes, args.dimensions, args.limit, args.memory, plot)
    write_page(args.output, "How cost grows", text, [section(axis, rows) for axis, rows in costs.items()])
    draw({HEADINGS[axis][0]: rows for axis, rows in costs.items()}, plot)


if __name__ == "__main__":
    main()
