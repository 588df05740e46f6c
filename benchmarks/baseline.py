"""The baseline: a DataLoader over PIL images, float32, NCHW, a pass over the images for every score, scikit-learn."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import project
from oodbench.build import build_recipe
from oodbench.model import Classifier, predict
from oodbench.training.device import pick_device
from oodbench.training.optimizer import parameter_groups
from oodbench.training.recipe import Recipe, learning_rate_factor
from project import Images, Labels, Overrides
from timing import Action

Batches = Iterable[tuple[Tensor, Tensor]]  # (B, 3, 32, 32), (B,)
Array = NDArray[np.floating]


class PilImages(Dataset[tuple[Tensor, int]]):
    def __init__(self, images: Images, labels: Labels, model: Classifier, augmentation: Sequence[Any]) -> None:
        normalise = transforms.Normalize(model.mean.cpu(), model.std.cpu())
        self.images, self.labels = images, labels
        self.transform = transforms.Compose([*augmentation, transforms.ToTensor(), normalise])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[i])), int(self.labels[i])


def build(overrides: Overrides) -> tuple[Classifier, Recipe]:
    """Build the network that `project.build` builds, with the same weights, in float32 and NCHW, and nothing else."""
    config = project.configuration(overrides)
    torch.manual_seed(config["seed"])
    backbone, data = instantiate(config["backbone"]), config["dataset"]
    objective = instantiate(config["loss"], num_features=backbone.num_features, num_classes=data["num_classes"])
    model = Classifier(backbone, objective, data["mean"], data["std"], torch.float32)
    return model.to(pick_device(config["device"])), build_recipe(config)


def workers() -> int:
    """Return the DataLoader's processes: none on a CPU, where they would compete with the network."""
    return (os.cpu_count() or 0) if torch.cuda.is_available() else 0


def loader(model: Classifier, recipe: Recipe, images: Images, labels: Labels, augment: bool) -> Batches:
    crop_and_flip = [transforms.RandomCrop(32, padding=recipe.crop_padding), transforms.RandomHorizontalFlip()]
    data = PilImages(images, labels, model, crop_and_flip if augment else [])
    return DataLoader(data, recipe.batch_size, shuffle=augment, num_workers=workers(), pin_memory=workers() > 0)


def train(model: Classifier, recipe: Recipe, epochs: Iterable[Batches], steps: int) -> list[float]:
    """Train in place, `steps` batches an epoch; return the mean loss of every epoch."""
    device, means = model.mean.device, []
    optimizer = recipe.optimizer(parameter_groups(model))
    rates = [group["lr"] for group in optimizer.param_groups]
    model.train()
    for epoch, batches in enumerate(epochs):
        losses, images = 0.0, 0
        for step, (x, y) in enumerate(batches):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * learning_rate_factor(epoch * steps + step, steps, recipe)
            optimizer.zero_grad()
            loss = model.objective.loss(model.backbone(x.to(device)), y.to(device))
            loss.backward()
            if recipe.clip_grad_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_grad_norm)
            optimizer.step()
            losses, images = losses + loss.item() * len(y), images + len(y)
        means.append(losses / images)
    return means


@torch.no_grad()
def features(model: Classifier, recipe: Recipe, images: Images, labels: Labels) -> Tensor:
    """(N, D), in a pass over the images"""
    model.eval()
    batches = loader(model, recipe, images, labels, augment=False)
    return torch.cat([model.backbone(x.to(model.mean.device)).cpu() for x, _ in batches])


def training(overrides: Overrides, n: int) -> Action:
    model, recipe = build(overrides)
    images, labels = project.random_images(n)
    steps = -(-n // recipe.batch_size)

    def epochs() -> Iterator[Batches]:
        for _ in range(recipe.epochs):
            yield loader(model, recipe, images, labels, augment=True)

    return lambda: train(model, recipe, epochs(), steps)


def inference(overrides: Overrides, n: int) -> Action:
    return partial(features, *build(overrides), *project.random_images(n))


def augmentation(overrides: Overrides, n: int) -> Action:
    batches = loader(*build(overrides), *project.random_images(n), augment=True)
    return lambda: [None for _ in batches]


def evaluation(overrides: Overrides, sizes: Mapping[str, int]) -> Action:
    """A pass over the training set, then for every detector one over each of the other sets."""
    (model, recipe), detectors = build(overrides), project.all_detectors()
    sets = [project.random_images(n) for n in sizes.values()]

    def evaluate_all() -> None:
        train = predict(model.objective, features(model, recipe, *sets[0]), sets[0][1])
        for name, detector in detectors.items():
            judged = [predict(model.objective, features(model, recipe, x, y), y) for x, y in sets[1:]]
            project.score_all({name: detector}, model, train, judged)

    return evaluate_all


def ood_metrics(id_scores: Array, ood_scores: Array) -> list[float]:
    """AUROC, FPR@95 of both conventions and both AUPRs"""
    scores, is_ood = np.concatenate([id_scores, ood_scores]), np.repeat([0, 1], [len(id_scores), len(ood_scores)])
    fpr, tpr, _ = roc_curve(is_ood, scores, drop_intermediate=False)  # which may drop the point of 95 %
    fpr_id, tpr_id, _ = roc_curve(1 - is_ood, -scores, drop_intermediate=False)
    auprs = average_precision_score(is_ood, scores), average_precision_score(1 - is_ood, -scores)
    return [roc_auc_score(is_ood, scores), fpr[np.argmax(tpr >= 0.95)], fpr_id[np.argmax(tpr_id >= 0.95)], *auprs]


def bootstrap(images: int, detectors: int, resamples: int) -> Action:
    """The OOD metrics of so many resamples, sorted anew for each"""
    random = np.random.default_rng(0)
    scores = random.normal(size=(detectors, 2, images))
    return lambda: [
        ood_metrics(*(each[random.integers(images, size=images)] for each in pair))
        for pair in scores
        for _ in range(resamples)
    ]
