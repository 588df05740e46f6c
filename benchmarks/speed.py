"""Measure how fast this project is, beside the baseline and beside the machine's limit -> benchmarks/results/speed.md

python benchmarks/speed.py                        a quarter of an hour on two idle cores
python benchmarks/speed.py --compile true         with torch.compile, too; a compiler is needed
python benchmarks/speed.py --small                whether it works at all; a minute
python benchmarks/speed.py backbone.width=32      overrides as for train.py, in every variant

Every choice of conf/loss, conf/backbone and conf/detector appears by itself.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

import baseline
import project
from launches import launches
from oodbench.cli.configuration import CONF, compose
from oodbench.training.device import available_precisions, pick_device, pick_precision, use_precision
from page import Section, Target, argument_parser, number, write_page
from project import Overrides
from timing import Action, Ratio, ratio, time_interleaved

ROOT = CONF.parent
TRAINING = ["recipe=smoke", "recipe.optimizer.lr=0.001"]  # one epoch; the labels are noise
PRODUCTS, COPIES = 20, 20  # in one action
FIGURES: tuple[Callable[[Sequence[float]], float], ...] = (statistics.median, min, max)
HEADER = ["images/s", "baseline", "this project", "ratio (range)", "limit", "share of it"]
DETECTORS, SAMPLES, RESAMPLES = 4, 10, 1000  # of the bootstrap: that the baseline draws, and that are reported


class Sizes(NamedTuple):
    repeats: int
    images: int  # of an epoch, and of a pass
    side: int  # of the matrices whose product is the limit
    copied: int  # bytes of a copy
    sets: dict[str, int]  # images of an evaluation
    scores: int  # ID images, and as many OOD


CPU = Sizes(5, 512, 2048, 2**26, {"train": 256, "test": 64, "ood": 64}, 10_000)
GPU = Sizes(5, 51_200, 8192, 2**30, {"train": 12_800, "test": 2560, "ood": 2560}, 10_000)
SMALL = Sizes(1, 16, 256, 2**20, {"train": 64, "test": 4, "ood": 4}, 200)


def matrix_products(precision: str, side: int) -> Action:
    device = pick_device("auto")
    name = pick_precision(precision, device)
    dtype = use_precision(name)
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    a, b = torch.randn(2, side, side, dtype=dtype, device=device)
    return lambda: [a @ b for _ in range(PRODUCTS)]


def copies(size: int) -> Action:
    source = torch.zeros(size, dtype=torch.uint8, device=pick_device("auto"))
    target = torch.empty_like(source)
    return lambda: [target.copy_(source) for _ in range(COPIES)]


def operations(overrides: Overrides, training: bool) -> int:
    """Count the backbone's operations for one image: a multiplication and an addition are two."""
    backbone = project.build([*overrides, "device=cpu", "compile=false"])[0].backbone
    with FlopCounterMode(display=False) as counter:
        features = backbone(torch.zeros(2, 3, 32, 32))
        if training:
            features.sum().backward()
    return int(counter.get_total_flops()) // 2


def limits(sizes: Sizes) -> Section:
    variants = {p: partial(matrix_products, p, sizes.side) for p in available_precisions(pick_device("auto"))}
    seconds = time_interleaved({**variants, "copy": partial(copies, sizes.copied)}, sizes.repeats)
    work = dict.fromkeys(variants, PRODUCTS * 2 * sizes.side**3) | {"copy": COPIES * sizes.copied}
    per_second = {name: [work[name] / s for s in each] for name, each in seconds.items()}
    rows = [
        [f"product, {name}, TFLOP/s" if name in variants else "copy, GB/s", *(number(f(rate)) for f in FIGURES)]
        for name, each in per_second.items()
        for rate in [[r / (1e12 if name in variants else 1e9) for r in each]]
    ]
    return Section(
        "The machine's limits",
        f"Products of {sizes.side} x {sizes.side} matrices; copies of {sizes.copied / 1e6:,.0f} MB.",
        ["", "median", "least", "most"],
        rows,
    )


def rates(name: str, n: int, *seconds: Sequence[float]) -> list[str]:
    """A row of images/s: baseline, this project, their ratio, the limit and the share of it that is reached."""
    slow, fast, limit = seconds
    per_second = [number(n / statistics.median(each)) for each in seconds]
    share = f"{100 * ratio(limit, fast).median:.0f} %"
    return [name, *per_second[:2], shown(ratio(slow, fast)), per_second[2], share]


def shown(r: Ratio) -> str:
    return f"{number(r.median)} ({number(r.low)} to {number(r.high)})"


def augmentation(overrides: Overrides, sizes: Sizes) -> Section:
    n = sizes.images
    seconds = time_interleaved(
        {
            "baseline": partial(baseline.augmentation, overrides, n),
            "project": partial(project.augmentation, overrides, n),
            "limit": partial(copies, sizes.copied),
        },
        sizes.repeats,
    )
    limit = [s * n * 3 * 32 * 32 * 4 / (COPIES * sizes.copied) for s in seconds["limit"]]
    return Section(
        "Augmentation",
        "An epoch of batches, cropped, flipped and normalised. The limit copies the float32 images.",
        HEADER,
        [rates("crop, flip, normalise", n, seconds["baseline"], seconds["project"], limit)],
    )


def network(
    kind: str, text: str, cases: Sequence[Overrides], target: float, common: Overrides, sizes: Sizes
) -> Section:
    """kind: the function of both modules, `training` or `inference`"""
    rows, ratios, n = [], [], sizes.images
    for case in cases:
        overrides = [*TRAINING, *common, *case]
        variants = {
            "baseline": partial(getattr(baseline, kind), overrides, n),
            "project": partial(getattr(project, kind), overrides, n),
            "limit": partial(matrix_products, compose(overrides).precision, sizes.side),
        }
        seconds = time_interleaved(variants, sizes.repeats)
        scale = n * operations(overrides, kind == "training") / (PRODUCTS * 2 * sizes.side**3)
        limit = [scale * s for s in seconds["limit"]]
        rows.append(rates(" ".join(case), n, seconds["baseline"], seconds["project"], limit))
        ratios.append(ratio(seconds["baseline"], seconds["project"]).median)
        print(kind, *rows[-1], flush=True)
    targets = {f"{kind}, {rows[0][0]}: times the baseline": Target(ratios[0], target)}
    return Section(kind.capitalize(), text, HEADER, rows, targets)


def networks(common: Overrides, compiled: str | None, sizes: Sizes) -> list[Callable[[], Section]]:
    """Return what measures training, by every loss, and inference; both by every precision and backbone, too."""
    default, device = compose(common), pick_device("auto")
    automatic = pick_precision(default.precision, device)
    others = [[f"precision={name}"] for name in available_precisions(device) if name != automatic]
    others += [[f"backbone={name}"] for name in project.names("backbone") if name != default.name.backbone]
    loops = [[], *([["cuda_graph=false"]] if torch.cuda.is_available() else [])]  # the plain loop beside the graph
    loops += [[f"compile={compiled}", *loop] for loop in loops] if compiled else []
    losses = [[f"loss={name}", *loop] for name, loop in product(project.names("loss"), loops)]
    text = (
        "{} The limit is the backbone's operations, counted, at the rate of the matrix product in the same precision. "
        f"Unless a row says more: {default.name.backbone}, loss {default.name.loss}, precision {automatic}."
    )
    trains = text.format(f"`fit` over {sizes.images:,} images in batches of {default.recipe.batch_size}.")
    passes = text.format(f"Features of {sizes.images:,} images, from uint8 to float32.")
    return [
        partial(network, "training", trains, [*losses, *others], 4.5, common, sizes),
        partial(network, "inference", passes, [[f"precision={automatic}"], *others], 7, common, sizes),
    ]


def launched(overrides: Overrides) -> Section:
    counts = {name: launches([*TRAINING, *overrides, f"loss={name}"]) for name in project.names("loss")}
    rows = [[f"loss={name}", str(count.recorded), str(count.beside)] for name, count in counts.items()]
    text = "Counted on a CPU. With cuda_graph=true the first column's are launched together, by one replay."
    return Section("Operations of a training step", text, ["launched", "one by one", "beside a replay"], rows)


def evaluation(overrides: Overrides, sizes: Sizes) -> Section:
    seconds = time_interleaved(
        {
            "baseline": partial(baseline.evaluation, overrides, sizes.sets),
            "from the images": partial(project.evaluation, overrides, sizes.sets, stored=False),
            "from stored outputs": partial(project.evaluation, overrides, sizes.sets, stored=True),
        },
        sizes.repeats,
    )
    slow = seconds.pop("baseline")
    rows = [
        [name, number(statistics.median(slow)), number(statistics.median(fast)), shown(ratio(slow, fast))]
        for name, fast in seconds.items()
    ]
    return Section(
        f"Scores of {len(project.names('detector'))} detectors",
        f"Images: {', '.join(f'{name} {n:,}' for name, n in sizes.sets.items())}. The baseline: a pass over test and "
        "OOD images for each detector, one over the training set. This project: one pass over each set.",
        ["seconds", "baseline", "this project", "ratio (range)"],
        rows,
        {"evaluation from the images: times the baseline": Target(ratio(slow, seconds["from the images"]).median, 100)},
    )


def run_numbers(sizes: Sizes) -> Section:
    seconds = time_interleaved(
        {
            "baseline": partial(baseline.bootstrap, sizes.scores, DETECTORS, SAMPLES),
            "project": partial(project.run_numbers, sizes.scores, DETECTORS),
        },
        sizes.repeats,
    )
    slow, fast, scale = seconds["baseline"], seconds["project"], RESAMPLES / SAMPLES
    medians = [number(scale * statistics.median(slow)), number(statistics.median(fast))]
    return Section(
        "Numbers with intervals",
        f"{RESAMPLES:,} resamples of {sizes.scores:,} ID and as many OOD images, {DETECTORS} detectors. The baseline: "
        f"five OOD metrics by scikit-learn; {SAMPLES} resamples were timed and count {scale:.0f}-fold. This project: "
        "all numbers of a run, so accuracy and calibration, too.",
        ["seconds", "baseline", "this project", "ratio (range)"],
        [["all resamples", *medians, shown(ratio(slow, fast, scale))]],
    )


def command(*arguments: str) -> Action:
    return partial(subprocess.run, [sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)


def starting_up(sizes: Sizes) -> Section:
    with tempfile.TemporaryDirectory() as folder:  # where the untimed first round trains what is then finished
        finished = ["dataset=digits", "recipe=smoke", "dataset.limit=200", f"results_dir={folder}"]
        variants = {
            "python train.py --help": partial(command, "train.py", "--help"),
            "a finished run": partial(command, "train.py", *finished),
            "python -c 'import torch'": partial(command, "-c", "import torch"),
        }
        seconds = time_interleaved(variants, 2 * sizes.repeats)
    rows = [[name, *(number(f(each)) for f in FIGURES)] for name, each in seconds.items()]
    slowest = max(statistics.median(seconds[name]) for name in list(variants)[:2])
    target = Target(slowest, 1.0, at_most=True)
    text = "Before a command does anything; the last row to compare."
    return Section("Starting up", text, ["seconds", "median", "least", "most"], rows, {"starting up, seconds": target})


def main() -> None:
    parser = argument_parser(__doc__, "speed.md")
    parser.add_argument("--compile", help="a value of train.py's compile, as a further variant")
    parser.add_argument("overrides", nargs="*", help="as for train.py, in every variant")
    args = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # in the processes that are timed
    sizes = SMALL if args.small else GPU if torch.cuda.is_available() else CPU
    common = [*args.overrides, "recipe.batch_size=16"] if args.small else args.overrides
    measurements: list[Callable[[], Section]] = [
        partial(limits, sizes),
        partial(launched, common),
        partial(augmentation, common, sizes),
        *networks(common, args.compile, sizes),
        partial(evaluation, common, sizes),
        partial(run_numbers, sizes),
        partial(starting_up, sizes),
    ]
    sections = []
    for measure in measurements:
        sections.append(measure())
        print(sections[-1], flush=True)
    introduction = (
        f"Variants are interleaved, {sizes.repeats} times after a first round that is not counted, each in its own "
        "process. Figures are medians, a ratio is the median of the repeats' ratios, with their range. The baseline: "
        f"a DataLoader (num_workers={baseline.workers()}) over PIL images, float32 as torch computes it by default, "
        "NCHW, a pass over the images for every score, scikit-learn."
    )
    write_page(args.output, "How fast", introduction, sections)


if __name__ == "__main__":
    main()
