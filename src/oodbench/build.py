"""Objects from a resolved configuration: network, recipe, detectors, data."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from oodbench.data.images import SIDE, images_of
from oodbench.data.sets import DataSplits, Limits, data_splits
from oodbench.data.split import Split
from oodbench.data.statistics import STATISTICS, statistics
from oodbench.losses.trial import try_out
from oodbench.model import Classifier
from oodbench.runs.code import code_of, remember_code
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config, check_ood_name
from oodbench.targets import make
from oodbench.training.device import disable_malloc_trim, pick_compile, pick_precision, use_precision, use_threads
from oodbench.training.provenance import collect_provenance
from oodbench.training.recipe import Recipe
from oodbench.training.step import Execution

REFUSALS = (  # of values
    *(ValueError, TypeError, LookupError, RuntimeError, ArithmeticError, AttributeError, ImportError),
    *(HydraException, OmegaConfBaseException),
)
FROM_PATH = {"_target_": "oodbench.data.from_path"}  # of +ood.<name>.path=...


def build_model(config: Config, device: torch.device) -> Classifier:
    """Return the network, initialised by the seed, on its device; torch computes with the configuration's threads."""
    disable_malloc_trim()
    use_threads(config["threads"])
    torch.backends.cudnn.benchmark = True  # looks once for the fastest convolution: nearly all batches are of one size
    precision = pick_precision(config["precision"], device)
    torch.manual_seed(config["seed"])
    data = config["dataset"]
    backbone = make(config["backbone"])
    objective = make(config["loss"], num_features=backbone.num_features, num_classes=data["num_classes"])
    model = Classifier(backbone, objective, data["mean"], data["std"], use_precision(precision))
    return model.to(device).to(memory_format=torch.channels_last)


def build_provenance(config: Config, device: torch.device) -> dict[str, Any]:
    """Return what a run's files say of the machine, the code and the settings; after `build_model` set the threads."""
    settings = {key: config[key] for key in ("seed", "devices")} | {"code": code_of(config)}
    return collect_provenance(device, pick_precision(config["precision"], device)) | settings


def build_recipe(config: Config) -> Recipe:
    """Return the recipe; what its optimizer or schedule does not take raises their error now, not later."""
    recipe = Recipe(**make(config["recipe"]))
    recipe.optimizer([{"params": [torch.zeros(1)]}])
    recipe.schedule(0.5)
    return recipe


def build_execution(config: Config, device: torch.device, images: int) -> Execution:
    """Return how a training on so many images, those of all its epochs together, computes its steps."""
    alone = config["devices"] == 1
    return Execution(
        compile=alone and pick_compile(config["compile"], device, images),
        cuda_graph=alone and device.type == "cuda" and config["cuda_graph"],
    )


def build_detectors(settings: Config) -> dict[str, Any]:
    """Return {name: detector}, each with its hyperparameters; an unknown one raises TypeError now, not later."""
    detectors = {name: make(node) for name, node in settings.items()}
    for detector in detectors.values():
        inspect.signature(detector).bind(None, None)
    return detectors


def open_data(config: Config, read: Callable[[Config], Split] = make) -> DataSplits:
    """Find, check and open every set that the run needs, before an hour is spent on training."""
    data, held_out = config["dataset"], config["validation"]["images"]
    with images_of(data.get("size", SIDE)):
        ood = {check_ood_name(name): read(FROM_PATH | node) for name, node in config["ood"].items()}
        train, test = read(data["train"]), read(data["test"])
        val_ood = read(config["validation"]["ood"]) if held_out else None
        limits = Limits(data["limit"], data["limit_test"], held_out)
        return data_splits(train, test, ood, data["num_classes"], limits, val_ood, config["allow_overlap"])


def with_statistics(config: Config) -> Config:
    """Return the configuration with number of classes, mean and deviation measured where it has null.

    Raises FileNotFoundError and ValueError where the training set cannot be read or has no such numbers, and
    DataChangedError where an earlier start of this run saw another one, unless it is to start over.
    """
    data = config["dataset"]
    if all(data[key] is not None for key in STATISTICS):
        return config
    measured, digest = _measured(json.dumps(data["train"]), data.get("size", SIDE))
    config = config | {"dataset": data | {key: measured[key] for key in STATISTICS if data[key] is None}}
    if not config["force"]:
        RunFolder.of(config).check_train_digest(digest)
    return config


@cache  # of a hundred runs most read the same set
def _measured(train: str, size: int) -> tuple[dict[str, Any], str]:
    """Return the numbers and the digest of the training set."""
    with images_of(size):
        split: Split = make(json.loads(train))
        return statistics(split), split.digest


def try_build(config: Config) -> None:
    """Build backbone, loss, recipe and detectors once, call the loss, and compare the arguments of sets with readers.

    Raises ValueError naming the one that fails.
    """
    data, detectors = config["dataset"], config["detector"] | config["image_detector"]
    with torch.random.fork_rng(devices=[]):
        with _naming("backbone"):
            num_features = _checked_backbone(json.dumps(config["backbone"], sort_keys=True))
        with _naming("loss"):
            loss = make(config["loss"], num_features=num_features, num_classes=data["num_classes"])
            try_out(loss, num_features, data["num_classes"])
    if not config["weights"]:
        with _naming("recipe"):
            _check_recipe(json.dumps(config["recipe"]))
    with _naming("detector"):
        _check_detectors(json.dumps(detectors))
    with _naming("dataset"):
        sets = {f"dataset.{part}": data[part] for part in ("train", "test")}
    sets |= {f"ood.{name}": FROM_PATH | node for name, node in config["ood"].items()}
    for name, node in sets.items():
        with _naming(name):
            _check_reader(json.dumps(node))
    remember_code(config)


@contextmanager
def _naming(part: str) -> Iterator[None]:
    try:
        yield
    except REFUSALS as error:
        raise ValueError(f"{part}: {error}") from error


@cache  # of a hundred runs most have the same parts
def _checked_backbone(settings: str) -> int:
    """Return the number of features."""
    return int(make(json.loads(settings)).num_features)


@cache
def _check_recipe(settings: str) -> None:
    build_recipe({"recipe": json.loads(settings)})


@cache
def _check_detectors(settings: str) -> None:
    build_detectors(json.loads(settings))


@cache
def _check_reader(settings: str) -> None:
    reader = make(json.loads(settings) | {"_partial_": True})
    inspect.signature(reader.func).bind(*reader.args, **reader.keywords)
