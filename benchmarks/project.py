"""This project's side of a comparison, built from the overrides that train.py takes."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from oodbench.build import build_detectors, build_execution, build_model, build_recipe
from oodbench.cli.configuration import CONF, compose, resolve
from oodbench.detectors.reference import NotApplicable, Reference
from oodbench.evaluation.evaluate import Detector, evaluate
from oodbench.model import Classifier, extract_features, head_fn, linear_weights, normalise, predict
from oodbench.outputs import Outputs, concatenate
from oodbench.training.batches import TrainingSet
from oodbench.training.device import disable_malloc_trim, pick_device
from oodbench.training.loop import TrainState, fit
from oodbench.training.recipe import Recipe
from oodbench.training.step import PLAIN, Execution
from synthetic import problem
from timing import Action

Overrides = Sequence[str]
Images = NDArray[np.uint8]  # (N, 32, 32, 3)
Labels = NDArray[np.int64]  # (N,)


class NoCheckpointer:
    def due(self) -> bool:
        return False

    def receive_stop(self) -> bool:
        return False

    def save(self, progress: TrainState) -> None:
        pass


def names(group: str) -> list[str]:
    """Return the choices of a configuration group."""
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def configuration(overrides: Overrides) -> dict[str, Any]:
    return resolve(compose(overrides))


def all_detectors() -> dict[str, Detector]:
    return build_detectors(configuration(["detector=all"])["detector"])


def random_images(n: int) -> tuple[Images, Labels]:
    """Return noise of ten classes: speed does not depend on the pixels."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), random.integers(0, 10, n)


def build(overrides: Overrides) -> tuple[Classifier, Recipe]:
    config = configuration(overrides)
    return build_model(config, pick_device(config["device"])), build_recipe(config)


def train(
    model: Classifier, recipe: Recipe, images: Images, labels: Labels, seed: int, execution: Execution = PLAIN
) -> list[float]:
    """Train in place; return the mean loss of every epoch."""
    return [row["loss"] for row in fit(model, images, labels, recipe, seed, None, NoCheckpointer(), execution)]


def training(overrides: Overrides, n: int) -> Action:
    model, recipe = build(overrides)
    execution = build_execution(configuration(overrides), model.mean.device, n * recipe.epochs)
    return partial(train, model, recipe, *random_images(n), seed=0, execution=execution)


def inference(overrides: Overrides, n: int) -> Action:
    return partial(extract_features, build(overrides)[0], random_images(n)[0])


def augmentation(overrides: Overrides, n: int) -> Action:
    model, recipe = build(overrides)
    data = TrainingSet(*random_images(n), recipe, 0, model.mean.device)
    parts = torch.arange(n, device=data.device).split(recipe.batch_size)

    def epoch() -> None:
        for step in data.epoch(0, 0):
            normalise(data.batch(parts[step])[0], model.mean, model.std)

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
    outputs = problem(N=100, K=10, D=16, M=2 * images)
    scores = np.random.default_rng(0).normal(size=(detectors, 2 * images))
    known = {f"detector {i}": (lambda judged, reference, i=i: scores[i]) for i in range(detectors)}
    return lambda: evaluate(outputs.test, {"ood": outputs.ood}, known, outputs.reference)
