"""This project's side of a comparison, built from the overrides that train.py takes; nothing else here knows its parts."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from synthetic import problem
from timing import Action

from oodbench.cli import CONF, compose
from oodbench.data.split import DataSplits, data_splits
from oodbench.detectors.reference import NotApplicable, Reference
from oodbench.evaluation.evaluate import Detector, evaluate
from oodbench.model import Classifier, compile_backbone, extract_features, head_fn, linear_weights, predict
from oodbench.outputs import Outputs, concatenate
from oodbench.training.batches import batches, normalise, sample_augmentation, to_device_padded
from oodbench.training.device import disable_malloc_trim, pick_device, pick_precision
from oodbench.training.loop import TrainState, fit
from oodbench.training.recipe import Recipe

Overrides = Sequence[str]
Images, Labels = NDArray[np.uint8], NDArray[np.int64]  # (N, 32, 32, 3), (N,)


class NoCheckpointer:
    def due(self) -> bool:
        return False

    def stop(self) -> bool:
        return False

    def save(self, progress: TrainState) -> None:
        pass


def names(group: str) -> list[str]:
    """Return the choices of a configuration group, less the one that stands for all."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "all")


def all_detectors() -> dict[str, Detector]:
    nodes = compose([f"detector=[{','.join(names('detector'))}]"]).detector
    return {name: instantiate(node) for name, node in nodes.items()}


def random_images(n: int) -> tuple[Images, Labels]:
    """Return noise of ten classes: speed does not depend on the pixels."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n)


def open_data(overrides: Overrides) -> DataSplits:
    data = compose(overrides).dataset
    train, test = instantiate(data.train), instantiate(data.test)
    return data_splits(train, test, {}, data.num_classes, data.limit, data.limit_test)


def build(overrides: Overrides) -> tuple[Classifier, Recipe]:
    cfg = compose(overrides)
    device = pick_device(cfg.device)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(cfg.seed)
    backbone = instantiate(cfg.backbone)
    objective = instantiate(cfg.loss, num_features=backbone.num_features, num_classes=cfg.dataset.num_classes)
    precision = pick_precision(cfg.precision, device)
    model = Classifier(backbone, objective, list(cfg.dataset.mean), list(cfg.dataset.std), precision)
    compile_backbone(model, cfg.compile)
    recipe = Recipe(**instantiate(cfg.recipe, _convert_="all"))
    return model.to(device).to(memory_format=torch.channels_last), recipe  # type: ignore[call-overload]


def train(model: Classifier, recipe: Recipe, images: Images, labels: Labels, seed: int) -> list[float]:
    """Train in place; return the mean loss of every epoch."""
    return [row["loss"] for row in fit(model, images, labels, recipe, seed, None, NoCheckpointer())]


def training(overrides: Overrides, n: int) -> Action:
    disable_malloc_trim()
    return partial(train, *build(overrides), *random_images(n), seed=0)


def inference(overrides: Overrides, n: int) -> Action:
    disable_malloc_trim()
    return partial(extract_features, build(overrides)[0], random_images(n)[0])


def augmentation(overrides: Overrides, n: int) -> Action:
    disable_malloc_trim()
    model, recipe = build(overrides)
    images, labels = random_images(n)
    device = model.mean.device
    padded, targets = to_device_padded(images, recipe.crop_padding, device), torch.from_numpy(labels).to(device)

    def epoch() -> None:
        choices = sample_augmentation(0, 0, n, recipe.crop_padding, recipe.flip)
        for x, _ in batches(padded, targets, choices, recipe.batch_size):
            normalise(x, model.mean, model.std)

    return epoch


def score_all(
    detectors: Mapping[str, Detector], model: Classifier, train: Outputs, judged: Sequence[Outputs]
) -> dict[str, Any]:
    """Score the images of all judged sets with every detector that can judge this network."""
    objective, images, scores = model.objective, concatenate(list(judged)), {}
    reference = Reference(train, head_fn(objective), linear_weights(objective), None)
    for name, detector in detectors.items():
        try:
            scores[name] = detector(images, reference)
        except NotApplicable:
            continue
    return scores


def evaluation(overrides: Overrides, sizes: Mapping[str, int], stored: bool) -> Action:
    """One pass over every set, then all detectors; stored: the pass was made before."""
    disable_malloc_trim()
    model, detectors = build(overrides)[0], all_detectors()

    def collect() -> list[Outputs]:
        sets = map(random_images, sizes.values())
        return [predict(model.objective, extract_features(model, x), y) for x, y in sets]

    outputs = collect() if stored else []

    def evaluate_all() -> None:
        train, *judged = outputs or collect()
        score_all(detectors, model, train, judged)

    return evaluate_all


def run_numbers(images: int, detectors: int) -> Action:
    """All numbers, calibration and resamples of a run with so many detectors, whose scores are there."""
    disable_malloc_trim()
    made = problem(N=100, K=10, D=16, M=2 * images)
    scores = np.random.default_rng(0).normal(size=(detectors, 2 * images))
    known = {f"detector {i}": (lambda judged, reference, i=i: scores[i]) for i in range(detectors)}
    return lambda: evaluate(made.test, {"ood": made.ood}, known, made.reference)
