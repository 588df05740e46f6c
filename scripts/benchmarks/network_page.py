"""Augmentation, training and inference beside the plain way and beside the machine's matrix products: the page."""

import statistics
from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contest import Seconds, contest, ratio
from benchmarks.network import (
    BACKBONES,
    CLASSES,
    LOSSES,
    PAIRWISE,
    SIZES,
    STEPS,
    objectives,
    our_network,
    plain_augmentation,
    plain_inference,
    plain_training,
)
from benchmarks.plain import BATCH
from benchmarks.sections import SIDE, Section, Target, at_copys_rate, at_products_rate, composed, limits

HEADER = ["images/s", "plain", "ours", "ratio (range)", "the limit", "share of the limit"]


def operations(backbone: str, training: bool) -> int:
    """Of an image, counted by torch: a multiplication and an addition are two."""
    network = instantiate(composed(f"backbone={backbone}").backbone)
    image = torch.zeros(2, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        features = network(image)
        if training:
            features.sum().backward()
    return int(counter.get_total_flops()) // len(image)


def sections(n: int, repeats: int, compile_mode: bool | str) -> tuple[list[Section], dict[str, float]]:
    """(b) augmentation, (c) training, the losses' own cost, (d) inference; and images/s of a pass, {way: rate}"""
    ways: dict[str, tuple[Any, ...]] = {
        "limit": (limits, "auto"),
        "ours": (our_network, n, compile_mode),
        "objective": (objectives,),
        "plain augment": (plain_augmentation, n),
        "plain infer": (plain_inference, n),
    }
    # what is divided by one another comes one after the other
    turns = [("plain augment", "augment"), ("ours", "augment"), ("limit", "copy")]
    turns += [("plain infer", "infer"), ("ours", "infer bf16"), ("limit", "bf16"), ("ours", "resnet18 ce bf16")]
    turns += [("objective", f"{loss} {size}") for loss in [*LOSSES, *PAIRWISE] for size in SIZES]
    for what in product(BACKBONES, LOSSES):
        way = "plain " + " ".join(what)
        ways[way] = (plain_training, *what, n)
        turns += [(way, "train"), ("ours", " ".join(what) + " bf16")]
    turns += [("limit", "fp32"), ("ours", "infer fp32"), *(("ours", f"{backbone} ce fp32") for backbone in BACKBONES)]
    if compile_mode:
        turns += [("ours", "resnet18 ce bf16 compiled"), ("ours", "infer bf16 compiled")]
    turns = list(dict.fromkeys(turns))  # cross entropy's own turn is beside the limit's
    spent = contest(ways, turns, repeats, warm=repeats > 1)
    passes = {"plain": spent["plain infer", "infer"], "ours": spent["ours", "infer bf16"]}
    rates = {way: n / statistics.median(seconds) for way, seconds in passes.items()}
    return [augmentation(spent, n), training(spent, n), own_cost(spent, n), inference(spent, n)], rates


def augmentation(spent: Seconds, n: int) -> Section:
    slow, fast = spent["plain augment", "augment"], spent["ours", "augment"]
    limit = at_copys_rate(spent, n * 3 * 32 * 32 * 4)
    return Section(
        "(b) Augmentation",
        "Random crop from 4 black pixels around, flip, to float, normalised, in batches of 128, an epoch's order drawn "
        "in the same time. Plain: torchvision's transforms of PIL images in a DataLoader. The limit is a copy of the "
        "bytes that come out.",
        HEADER,
        [row("crop, flip, normalise", n, slow, fast, limit)],
    )


def training(spent: Seconds, n: int) -> Section:
    rows, targets = [], {}
    for backbone in BACKBONES:
        per_image = operations(backbone, training=True)
        ours = [(loss, "bf16") for loss in LOSSES] + [("ce", "fp32")]
        ours += [("ce", "bf16 compiled")] * (("ours", f"{backbone} ce bf16 compiled") in spent)
        for loss, how in ours:
            slow, fast = spent[f"plain {backbone} {loss}", "train"], spent["ours", f"{backbone} {loss} {how}"]
            limit = at_products_rate(spent, how[:4], n * per_image)
            rows.append(row(f"{backbone}, {loss}, {how}", n, slow, fast, limit))
            if (backbone, loss, how) == ("resnet18", "ce", "bf16"):
                targets["training, ResNet-18: times the plain loop"] = Target(ratio(slow, fast).median, 4.5)
                targets["training, ResNet-18: share of the bf16 matrix product's rate"] = Target(
                    ratio(limit, fast).median, 0.40
                )
    text = (
        f"The training loop itself, over {n} images in batches of {BATCH}: augmentation, optimizer, running means, and "
        "what an epoch begins and ends with. The plain loop has the same loss in float32 and NCHW, and never clips a "
        "gradient, as HALO's recipe does. The limit is the network's operations (counted) at the rate of a "
        f"{SIDE} x {SIDE} matrix product in the same precision, {gigaflops(spent, 'bf16')} GFLOP/s in bf16 and "
        f"{gigaflops(spent, 'fp32')} in float32. A convolution is another routine than a product of float32 matrices, "
        "and may be faster."
    )
    return Section("(c) Training", text, HEADER, rows, targets)


def own_cost(spent: Seconds, n: int) -> Section:
    step = [seconds / n for seconds in spent["ours", "resnet18 ce bf16"]]
    rows, worst = [], {False: 0.0, True: 0.0}
    for loss in [*LOSSES, *PAIRWISE]:
        shares = [ratio(spent["objective", f"{loss} {size}"], step, per=1 / (STEPS * size)).median for size in SIZES]
        rows.append([loss.replace(" loss.", ", "), *(f"{100 * share:.2f} %" for share in shares)])
        worst[loss in PAIRWISE] = max(worst[loss in PAIRWISE], *shares)
    targets = {
        "a loss's own cost: largest share of a step": Target(worst[False], 0.02, most=True),
        "Circle pairwise: largest share of a step": Target(worst[True], 0.05, most=True),
    }
    return Section(
        "The losses' own cost",
        f"Forward and backward of the objective alone, on B features of 512 dimensions and {CLASSES} classes, as a "
        "share of the time that ResNet-18's training (cross entropy, bf16) takes for B images.",
        ["share of a step", *(f"B = {size}" for size in SIZES)],
        rows,
        targets,
    )


def inference(spent: Seconds, n: int) -> Section:
    per_image, slow = operations("resnet18", training=False), spent["plain infer", "infer"]
    rows, targets = [], {}
    for how in ("bf16", "fp32", "bf16 compiled"):
        if ("ours", f"infer {how}") not in spent:
            continue
        fast = spent["ours", f"infer {how}"]
        rows.append(row(f"resnet18, {how}", n, slow, fast, at_products_rate(spent, how[:4], n * per_image)))
        if how == "bf16":
            targets["inference, ResNet-18: times the plain loop"] = Target(ratio(slow, fast).median, 7.0)
    return Section(
        "(d) Inference",
        "Features of a set of images, from uint8 to float32 on the CPU.",
        HEADER,
        rows,
        targets,
    )


def row(what: str, n: int, slow: Sequence[float], fast: Sequence[float], limit: Sequence[float]) -> list[str]:
    """Seconds of every repeat for n images; limit: those that the machine at its best would take."""
    rates = [f"{n / statistics.median(seconds):,.0f}" for seconds in (slow, fast, limit)]
    return [what, *rates[:2], str(ratio(slow, fast)), rates[2], f"{100 * ratio(limit, fast).median:.0f} %"]


def gigaflops(spent: Seconds, precision: str) -> str:
    return f"{1e-9 / statistics.median(at_products_rate(spent, precision, 1)):,.0f}"
