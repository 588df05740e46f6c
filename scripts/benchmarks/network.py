"""Augmentation, training and inference: the plain loop, this project's, and the machine's matrix products."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import plain
from benchmarks.contest import Actions, Seconds, contest, ratio
from benchmarks.plain import BATCH, MEAN, STD, Images, Labels
from benchmarks.sections import ROOT, SIDE, Section, Target, composed, copy_rate, flops, limits, objective_of
from oodbench.backbones import ResNet18
from oodbench.data.batches import batches, draw, normalise, resident
from oodbench.device import PRECISIONS, keep_memory, pick_device
from oodbench.fit import parameter_groups, train_step
from oodbench.model import Classifier, compile_backbone, features_of

LOSSES = [f"{path.stem}" for path in sorted((ROOT / "conf/loss").glob("*.yaml"))]
PAIRWISE = ["circle loss.variant=pairwise_global", "circle loss.variant=pairwise_per_anchor"]
BACKBONES = [path.stem for path in sorted((ROOT / "conf/backbone").glob("*.yaml"))]
CLASSES, SIZES = 100, (128, 256, 512, 1024)  # for the losses' own cost
STEPS = 20  # of an objective in an action


def data(n: int) -> tuple[Images, Labels]:
    """Pixels' values cost nothing: any images do."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n)


def sgd(parameters: Any, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4, **options)


def finished(work: Callable[[], Any]) -> None:
    """Done when the device is done."""
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def plain_training(backbone: str, loss: str, n: int) -> Actions:
    """Alone in its process, as people run it: how fast memory comes depends on what was there before."""
    images, labels = data(n)
    device = pick_device("auto")
    network = instantiate(composed(f"backbone={backbone}").backbone).to(device)
    objective = objective_of(loss, network.num_features, 10).to(device)
    optimizer = sgd([*network.parameters(), *objective.parameters()])
    return {"train": partial(finished, lambda: plain.train_epoch(network, objective, optimizer, images, labels))}


def plain_inference(n: int) -> Actions:
    images, _ = data(n)
    network = ResNet18(64).to(pick_device("auto"))
    return {"infer": partial(finished, lambda: plain.features(network, images))}


def plain_augmentation(n: int) -> Actions:
    images, labels = data(n)

    def load() -> None:
        for _ in DataLoader(plain.PilImages(images, labels, plain.CROP_AND_FLIP), BATCH, shuffle=True):
            pass

    return {"augment": load}


def our_network(n: int, compile_mode: bool | str) -> Actions:
    keep_memory()
    images, labels = data(n)
    device = pick_device("auto")
    padded, targets = resident(images, 4, device), torch.from_numpy(labels).to(device)
    mean, std = torch.tensor(MEAN, device=device), torch.tensor(STD, device=device)

    def epoch() -> Any:
        return batches(padded, targets, draw(0, 0, n, 4, flip=True), BATCH)

    def classifier(backbone: str, loss: str, precision: str, mode: bool | str = False) -> Classifier:
        network = instantiate(composed(f"backbone={backbone}").backbone)
        objective = objective_of(loss, network.num_features, 10)
        model = Classifier(network, objective, MEAN, STD, PRECISIONS[precision]).to(device)
        compile_backbone(model, mode)
        return model.to(memory_format=torch.channels_last)

    def training(model: Classifier) -> Callable[[], None]:
        optimizer = sgd(parameter_groups(model), fused=True)

        def train() -> None:
            model.train()
            for x, y in epoch():
                train_step(model, optimizer, x, y, clip_grad_norm=None)

        return train

    def augment() -> None:
        for x, _ in epoch():
            normalise(x, mean, std)

    actions: dict[str, Callable[[], Any]] = {"augment": augment}
    for backbone in BACKBONES:
        for loss in LOSSES:
            actions[f"{backbone} {loss} bf16"] = training(classifier(backbone, loss, "bf16"))
        actions[f"{backbone} ce fp32"] = training(classifier(backbone, "ce", "fp32"))
    for precision in ("fp32", "bf16"):
        actions[f"infer {precision}"] = partial(features_of, classifier("resnet18", "ce", precision), images)
    if compile_mode:
        actions["resnet18 ce bf16 compiled"] = training(classifier("resnet18", "ce", "bf16", compile_mode))
        actions["infer bf16 compiled"] = partial(
            features_of, classifier("resnet18", "ce", "bf16", compile_mode), images
        )
    return {name: partial(finished, action) for name, action in actions.items()}


def objectives() -> Actions:
    """Forward and backward of each objective alone, STEPS times."""
    keep_memory()
    device, generator = pick_device("auto"), torch.Generator().manual_seed(0)

    def steps(loss: str, size: int) -> Callable[[], None]:
        objective = objective_of(loss, 512, CLASSES).to(device)
        features = torch.randn(size, 512, generator=generator).relu().to(device).requires_grad_()
        labels = torch.randint(CLASSES, (size,), generator=generator).to(device)

        def run() -> None:
            for _ in range(STEPS):
                objective.loss(features, labels).backward()

        return run

    return {f"{loss} {size}": partial(finished, steps(loss, size)) for loss in [*LOSSES, *PAIRWISE] for size in SIZES}


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
    turns = [("limit", name) for name in ("bf16", "fp32", "copy")]
    ways: dict[str, tuple[Any, ...]] = {
        "limit": (limits,),
        "ours": (our_network, n, compile_mode),
        "objective": (objectives,),
        "plain augment": (plain_augmentation, n),
        "plain infer": (plain_inference, n),
    }
    for what in product(BACKBONES, LOSSES):
        way = "plain " + " ".join(what)
        ways[way] = (plain_training, *what, n)
        turns += [(way, "train"), ("ours", " ".join(what) + " bf16")]
    turns += [("ours", f"{backbone} ce fp32") for backbone in BACKBONES]
    turns += [("plain augment", "augment"), ("ours", "augment"), ("plain infer", "infer"), ("ours", "infer bf16")]
    turns += [("ours", "infer fp32")]
    if compile_mode:
        turns += [("ours", "resnet18 ce bf16 compiled"), ("ours", "infer bf16 compiled")]
    turns += [("objective", f"{loss} {size}") for loss in [*LOSSES, *PAIRWISE] for size in SIZES]
    spent = contest(ways, turns, repeats, warm=repeats > 1)
    passes = {"plain": spent["plain infer", "infer"], "ours": spent["ours", "infer bf16"]}
    rates = {way: n / statistics.median(seconds) for way, seconds in passes.items()}
    return [augmentation(spent, n), training(spent, n), own_cost(spent, n), inference(spent, n)], rates


def augmentation(spent: Seconds, n: int) -> Section:
    slow, fast = spent["plain augment", "augment"], spent["ours", "augment"]
    written = n * 3 * 32 * 32 * 4
    share = written / statistics.median(fast) / copy_rate(spent)
    return Section(
        "(b) Augmentation",
        "Random crop from 4 black pixels around, flip, to float, normalised, in batches of 128, an epoch's order drawn "
        "in the same time. Plain: torchvision's transforms of PIL images in a DataLoader. The limit is a copy of the "
        "bytes that come out.",
        ["images/s", "plain", "ours", "ratio (range)", "copying them", "share of the limit"],
        [
            [
                "crop, flip, normalise",
                rate(n, slow),
                rate(n, fast),
                str(ratio(slow, fast)),
                rate(n, [written / copy_rate(spent)]),
                percent(share),
            ]
        ],
    )


def training(spent: Seconds, n: int) -> Section:
    rows, targets = [], {}
    for backbone in BACKBONES:
        per_image = operations(backbone, training=True)
        ours = [(loss, "bf16") for loss in LOSSES] + [("ce", "fp32")]
        ours += [("ce", "bf16 compiled")] * (("ours", f"{backbone} ce bf16 compiled") in spent)
        for loss, how in ours:
            slow, fast = spent[f"plain {backbone} {loss}", "train"], spent["ours", f"{backbone} {loss} {how}"]
            share = n * per_image / statistics.median(fast) / flops(spent, how[:4])
            rows.append(
                [
                    f"{backbone}, {loss}, {how}",
                    rate(n, slow),
                    rate(n, fast),
                    str(ratio(slow, fast)),
                    rate(1, [per_image / flops(spent, how[:4])]),
                    percent(share),
                ]
            )
            if (backbone, loss, how) == ("resnet18", "ce", "bf16"):
                targets["training, ResNet-18: times the plain loop"] = Target(ratio(slow, fast).median, 4.5)
                targets["training, ResNet-18: share of the bf16 matrix product's rate"] = Target(share, 0.40)
    text = (
        "A step is augmentation, forward, backward, the optimizer's update and the epoch's running means; batches of "
        f"{BATCH}, the same loss in the plain loop, which is in float32 and NCHW. The limit is the network's "
        f"operations (counted) at the rate of a {SIDE} x {SIDE} matrix product in the same precision: "
        f"{flops(spent, 'bf16') / 1e9:,.0f} GFLOP/s in bf16, {flops(spent, 'fp32') / 1e9:,.0f} in float32. A "
        "convolution is another routine than a product of float32 matrices, and can be faster."
    )
    header = ["images/s", "plain", "ours", "ratio (range)", "at the product's rate", "share of the limit"]
    return Section("(c) Training", text, header, rows, targets)


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
        "share of the time that ResNet-18's training step (cross entropy, bf16) takes for B images.",
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
        share = n * per_image / statistics.median(fast) / flops(spent, how[:4])
        rows.append(
            [
                f"resnet18, {how}",
                rate(n, slow),
                rate(n, fast),
                str(ratio(slow, fast)),
                rate(1, [per_image / flops(spent, how[:4])]),
                percent(share),
            ]
        )
        if how == "bf16":
            targets["inference, ResNet-18: times the plain loop"] = Target(ratio(slow, fast).median, 7.0)
    return Section(
        "(d) Inference",
        "Features of a set of images, from uint8 to float32 on the CPU.",
        ["images/s", "plain", "ours", "ratio (range)", "at the product's rate", "share of the limit"],
        rows,
        targets,
    )


def rate(n: int, seconds: Sequence[float]) -> str:
    return f"{n / statistics.median(seconds):,.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"
