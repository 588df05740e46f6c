"""Detectors, metrics and bootstrap: a pass over the images for every score, or one for all."""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray

from benchmarks import plain
from benchmarks.contest import Actions, contest, number, ratio
from benchmarks.network import data
from benchmarks.plain import MEAN, STD
from benchmarks.sections import Section, Target, composed, objective_of
from oodbench.backbones.resnet18 import ResNet18
from oodbench.detectors.reference import Array, Reference
from oodbench.evaluation.bootstrap import resampled_ood
from oodbench.evaluation.evaluate import all_scores
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.model import Classifier, extract_features, head_fn, linear_weights, predict
from oodbench.outputs import Outputs, load_outputs, save_outputs
from oodbench.training.device import disable_malloc_trim, pick_device

DETECTORS = ["ood_score", "msp", "maxlogit", "energy", "entropy", "gen", "temperature_scaling", "kl_matching", "knn"]
DETECTORS += ["mahalanobis", "relative_mahalanobis", "vim", "residual", "react", "ash_s", "scale", "dice", "she"]
DETECTORS += ["gradnorm", "fdbd"]
OOD = [f"ood{i}" for i in range(6)]
UNFITTED = ["ood_score", "msp", "maxlogit", "energy", "entropy", "gen", "ash_s", "scale", "gradnorm"]
CONTEST = {"train": 128, **dict.fromkeys(["test", *OOD], 64)}  # images of the sets that are passed 20 times
FULL = {"train": 50_000, "test": 10_000, **dict.fromkeys(OOD, 10_000)} | {"ood0": 26_032}  # SVHN is the larger
SAMPLES, RESAMPLES = 10, 1000  # that the plain bootstrap draws, to be counted a hundredfold; that are reported


def detectors() -> dict[str, Any]:
    cfg = composed(f"detector=[{','.join(DETECTORS)}]")
    return {name: instantiate(node) for name, node in cfg.detector.items()}


def image_sets(sizes: Mapping[str, int]) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    images, labels = data(sum(sizes.values()))
    cuts = np.cumsum(list(sizes.values()))[:-1]
    return dict(zip(sizes, zip(np.split(images, cuts), np.split(labels, cuts), strict=True), strict=True))


def scored(outputs: Mapping[str, Outputs], some: Mapping[str, Any], objective: Any) -> None:
    reference = Reference(outputs["train"], head_fn(objective), linear_weights(objective), None)
    all_scores(outputs["test"], {name: outputs[name] for name in OOD}, some, reference)


def pass_per_detector(sizes: Mapping[str, int]) -> Actions:
    sets, some, device = image_sets(sizes), detectors(), pick_device("auto")
    network, objective = ResNet18(64).to(device), objective_of("ce", 512, 10).eval()
    x, y = sets["train"]
    known = {"train": predict(objective, plain.features(network, x), y)}

    def evaluate() -> None:
        for name, detector in some.items():
            passed = {k: v for k, v in sets.items() if k != "train" or name not in UNFITTED}
            outputs = {k: predict(objective, plain.features(network, x), y) for k, (x, y) in passed.items()}
            scored(known | outputs, {name: detector}, objective)

    return {"evaluate": evaluate}


def one_pass(sizes: Mapping[str, int], folder: str) -> Actions:
    disable_malloc_trim()
    sets, some, device = image_sets(sizes), detectors(), pick_device("auto")
    objective = objective_of("ce", 512, 10)
    model = Classifier(ResNet18(64), objective, MEAN, STD, torch.bfloat16).to(device)
    model = model.to(memory_format=torch.channels_last)

    def collect() -> None:
        for name, (x, y) in sets.items():
            save_outputs(Path(folder, name), predict(objective, extract_features(model, x), y), "a digest")

    def score() -> None:
        stored = {name: load_outputs(Path(folder, name), "a digest") for name in sets}
        scored({name: outputs for name, outputs in stored.items() if outputs}, some, objective)

    def evaluate() -> None:
        collect()
        score()

    collect()
    return {"evaluate": evaluate, "score again": score}


def full_size(sizes: Mapping[str, int]) -> Actions:
    """Every detector on outputs of a full evaluation's size; 100 classes. Synthetic: a score costs what it costs."""
    random, some = np.random.default_rng(0), detectors()
    objective = objective_of("ce", 512, 100)
    centres = random.normal(size=(100, 512)).astype(np.float32)

    def outputs(n: int) -> Outputs:
        labels = random.integers(100, size=n)
        noise = random.normal(size=(n, 512)).astype(np.float32)
        return predict(objective, torch.from_numpy(np.maximum(centres[labels] + noise, 0)), labels)

    stored = {name: outputs(n) for name, n in sizes.items()}
    return {"score": lambda: scored(stored, some, objective)}


def passes(repeats: int, plain_rate: float, our_rate: float, small: bool) -> Section:
    """(e); images/s of a pass, as the part before measured them."""
    few, many = ({name: n // (4 if small else 1) for name, n in sizes.items()} for sizes in (CONTEST, FULL))
    turns = [("plain", "evaluate"), ("ours", "evaluate"), ("ours", "score again"), ("full", "score")]
    with tempfile.TemporaryDirectory() as folder:
        ways = {"plain": (pass_per_detector, few), "ours": (one_pass, few, folder), "full": (full_size, many)}
        spent = contest(ways, turns, repeats, warm=not small)
    slow, images = spent["plain", "evaluate"], sum(few.values())
    rows = [
        [what, *(number(statistics.median(seconds)) for seconds in (slow, fast)), str(ratio(slow, fast))]
        for what, fast in (
            (f"{images:,} images, from the images", spent["ours", "evaluate"]),
            (f"{images:,} images, from stored outputs", spent["ours", "score again"]),
        )
    ]
    total, score = sum(many.values()), statistics.median(spent["full", "score"])
    passed = len(DETECTORS) * total - len(UNFITTED) * many["train"]
    by_passes = passed / plain_rate + score
    for what, seconds in (("from the images", total / our_rate + score), ("from stored outputs", score)):
        rows.append([f"{total:,} images, {what} *", *map(number, (by_passes, seconds, by_passes / seconds))])
    return Section(
        "(e) An evaluation with 20 detectors over six OOD sets",
        f"Training set, test set and six OOD sets through a ResNet-18 and these detectors: {', '.join(DETECTORS)}. "
        "Plain: a pass over all images (DataLoader, PIL, float32, NCHW) for each detector, as the public benchmark "
        "does it, the training set's only for those that learn from it (all but "
        f"{', '.join(UNFITTED)}); scored by the same functions. Ours: one pass, whose outputs are stored, so that "
        "whatever is asked later begins with them: the rows from stored outputs are such a second question, and leave "
        "out the pass that made them. * Not run but computed: so many passes at the rates measured under (d), and the "
        "scores themselves, which were run at that size (100 classes).",
        ["seconds", "plain", "ours", "ratio (range)"],
        rows,
        {
            "evaluation, from the images, full size: times a pass per detector": Target(
                by_passes / (total / our_rate + score), 100
            ),
        },
    )


def random_scores() -> tuple[dict[str, Array], dict[str, Array]]:
    """Of four detectors, of 10,000 and 26,032 images."""
    random = np.random.default_rng(0)
    names = DETECTORS[:4]
    return {n: random.normal(size=10_000) for n in names}, {n: random.normal(1, 1, size=26_032) for n in names}


def plain_metrics() -> Actions:
    ids, oods = random_scores()
    return {
        "metrics": lambda: [plain.ood_metrics(ids[name], oods[name]) for name in ids],
        "bootstrap": lambda: [plain.bootstrap(ids[name], oods[name], SAMPLES) for name in ids],
    }


def our_metrics() -> Actions:
    disable_malloc_trim()
    ids, oods = random_scores()
    return {
        "metrics": lambda: [f(ids[name], oods[name]) for name in ids for f in OOD_METRICS.values()],
        "bootstrap": lambda: resampled_ood(ids, oods, RESAMPLES),
        "sort": lambda: [np.sort(np.concatenate([ids[name], oods[name]])) for name in ids],
    }


def metrics(repeats: int) -> Section:
    """(f)"""
    ways = {"plain": (plain_metrics,), "ours": (our_metrics,)}
    turns = [("plain", "metrics"), ("ours", "metrics"), ("ours", "sort"), ("plain", "bootstrap"), ("ours", "bootstrap")]
    spent = contest(ways, turns, repeats, warm=True)
    sort = statistics.median(spent["ours", "sort"])
    rows = []
    for what, action, times in (
        ("AUROC, both FPR@95, both AUPRs", "metrics", 1),
        (f"{RESAMPLES:,} resamples of them", "bootstrap", RESAMPLES // SAMPLES),
    ):
        slow, fast = spent["plain", action], spent["ours", action]
        middle = times * statistics.median(slow), statistics.median(fast)
        rows.append([what, *map(number, middle), str(ratio(slow, fast, per=times)), number(middle[1] / sort)])
    return Section(
        "(f) Metrics and bootstrap",
        "Of four detectors, 10,000 ID and 26,032 OOD images. Plain: scikit-learn, every resample sorted anew; "
        f"{SAMPLES} resamples were run and count {RESAMPLES // SAMPLES}-fold. The limit is sorting each detector's "
        f"scores once: {number(1000 * sort)} ms.",
        ["seconds", "plain", "ours", "ratio (range)", "times the limit"],
        rows,
    )
