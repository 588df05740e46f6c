"""Values are checked against the type of their default and their range, whichever file or override they come from."""

import json
import math
from typing import Any

import pytest
from helpers.config import composed, configuration, names
from helpers.overrides import check_text
from omegaconf import OmegaConf

from oodbench.cli.errors import UsageError
from oodbench.cli.limits import LIMITS, OF_DETECTORS, check_limits

pytestmark = pytest.mark.usefixtures("hydra_initialised")

CONFIG = configuration()
INSIDE: dict[str, list[Any]] = {
    "seed": [0, 2**63 - 1],
    "device": ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"],
    "devices": [1, 8],
    "runs_per_gpu": [1, 4],
    "precision": ["auto", "bf16", "fp32", "tf32"],
    "compile": ["auto", False, True, "reduce-overhead", "max-autotune"],
    "threads": [1, 64],
    "checkpoint_share": [0, 0.01, 1],
    "wandb.mode": ["disabled", "offline", "online"],
    "wandb.entity": ["my-team"],
    "validation.images": [0, 5000],
    "dataset.size": [8, 32, 1024],
    "dataset.num_classes": [2, 1000],
    "dataset.mean": [[0.5], [0, 0.5, 1.0]],
    "dataset.std": [[0.25], [1, 0.5, 1e-3]],
    "dataset.limit": [1, 50_000],
    "dataset.limit_test": [1, 10_000],
    "backbone.width": [1, 64],
    "backbone.widths": [[1], [64, 256, 256]],
    "backbone.growth": [1, 12],
    "backbone.side": [1, 64],
    "backbone.dropout": [0, 0.3, 1],
    "recipe.epochs": [1, 200],
    "recipe.batch_size": [1, 128],
    "recipe.optimizer.lr": [0, 0.1, 1e30],
    "recipe.optimizer.adam_lr": [0, 6e-4],
    "recipe.optimizer.bias_lr": [0, 0.02],
    "recipe.optimizer.newton_schulz_steps": [1, 3],
    "recipe.optimizer.momentum": [0, 0.9, 1],
    "recipe.optimizer.weight_decay": [0, 5e-4],
    "recipe.optimizer.betas": [[0, 0.99]],
    "recipe.schedule.at": [[], [0.4, 0.7, 1]],
    "recipe.schedule.factor": [0, 0.1],
    "recipe.schedule.final": [0, 1e-5, 1],
    "recipe.warmup_epochs": [0, 0.5, 5],
    "recipe.clip_grad_norm": [1e-9, 1.0],
    "recipe.crop_padding": [0, 4],
    "recipe.crop_fill": ["black", "reflect"],
    "recipe.flip": [True, False, "alternate"],
    "recipe.batch_norm_images": [0, 1000],
}
OUTSIDE: dict[str, list[Any]] = {
    "seed": [-1, 2**63, 10**30],
    "device": ["gpu", "tpu", "cuda:", "cuda:x", "CPU", ""],
    "devices": [0, -1, 1.5, True],
    "runs_per_gpu": [0, -3],
    "precision": ["fp16", "float32", "BF16"],
    "compile": ["fast", 1, 0],
    "threads": [0, -2, 1.5, [2], "2"],
    "checkpoint_share": [-0.1, 1.1, math.inf, math.nan],
    "wandb.mode": ["onlin", "on"],
    "wandb.entity": ["", 3],
    "validation.images": [-1, 0.5],
    "dataset.size": [0, 4, 33, 1032],
    "dataset.num_classes": [1, 0],
    "dataset.mean": [0.5, [], [0.5, 0.5], [math.nan, 0, 0], [-1], ["a"]],
    "dataset.std": [[], [0.5] * 4, [0, 0.1, 0.1], [math.inf], [None]],
    "dataset.limit": [0, -5, 100.0, 20.5, True, [100]],
    "dataset.limit_test": [0, -5],
    "backbone.width": [0, -4],
    "backbone.widths": [[], [0], [-1], ["a"], [1.5], 64],
    "backbone.growth": [0, -1, 1.5],
    "backbone.side": [0, -32],
    "backbone.dropout": [-0.1, 1.1],
    "recipe.epochs": [0, -3, "3"],
    "recipe.batch_size": [0, -1],
    "recipe.optimizer.lr": [-0.1, math.nan, math.inf],
    "recipe.optimizer.adam_lr": [-1, math.nan],
    "recipe.optimizer.bias_lr": [-0.02, math.inf],
    "recipe.optimizer.newton_schulz_steps": [0, -1],
    "recipe.optimizer.momentum": [-0.1, 1.5, math.nan],
    "recipe.optimizer.weight_decay": [-1e-4, math.inf],
    "recipe.optimizer.betas": [[0.9], [2, 2], [0, 1], 0.9],
    "recipe.schedule.at": [["a"], [80], 0.4],
    "recipe.schedule.factor": [-1, math.inf],
    "recipe.schedule.final": [-0.1, 2],
    "recipe.warmup_epochs": [-1, math.nan],
    "recipe.clip_grad_norm": [0, -1, math.inf, [1], True],
    "recipe.crop_padding": [-1],
    "recipe.crop_fill": ["white"],
    "recipe.flip": ["maybe", 1],
    "recipe.batch_norm_images": [-1],
}


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def test_every_limit_has_values_inside_and_outside() -> None:
    assert LIMITS.keys() <= INSIDE.keys() == OUTSIDE.keys()


@pytest.mark.parametrize("key", LIMITS)
def test_a_value_inside_its_limit_is_taken(key: str) -> None:
    for value in INSIDE[key]:
        check_limits(nested(key, value))


@pytest.mark.parametrize("key", LIMITS)
def test_a_value_outside_its_limit_is_refused(key: str) -> None:
    for value in OUTSIDE[key]:
        with pytest.raises(UsageError, match=rf"^{key}=.*: .* is needed$"):
            check_limits(nested(key, value))


def test_a_key_that_a_configuration_lacks_has_no_limit() -> None:
    check_limits({"recipe": {"epochs": None}, "backbone": 3})
    check_limits(CONFIG)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [{"loss": {"gamma": 0.0}}, {"ood": {"mine": {"a": [1, [0.0]]}}}])
def test_no_number_is_without_end(place: dict[str, Any], value: float) -> None:
    check_limits(place)
    with pytest.raises(UsageError, match=r"^(loss.gamma|ood.mine.a.1.0)=-?(nan|inf): a finite number is needed$"):
        check_limits(json.loads(json.dumps(place).replace("0.0", json.dumps(value))))


def detectors() -> dict[str, Any]:
    nodes: Any = OmegaConf.to_container(
        composed("detector=all", f"image_detector=[{','.join(names('image_detector'))}]")
    )
    return {"detector": nodes["detector"], "image_detector": nodes["image_detector"]}


OF_KEYS = [(function, key) for function, keys in OF_DETECTORS.items() for key in keys]


@pytest.mark.parametrize(("function", "key"), OF_KEYS)
def test_a_hyperparameter_outside_its_limit_is_refused(function: str, key: str) -> None:
    nodes = detectors()
    check_limits(nodes)
    target = f"oodbench.detectors.{function}"
    ((group, name),) = [(g, name) for g in nodes for name, node in nodes[g].items() if node["_target_"] == target]
    assert key in nodes[group][name]
    with pytest.raises(UsageError, match=rf"^{group}\.{name}\.{key}=-1: .* is needed$"):
        check_limits({group: {name: nodes[group][name] | {key: -1}}})


def test_another_detector_may_give_a_hyperparameter_another_meaning() -> None:
    check_limits({"detector": {"knn": {"_target_": "oodbench.detectors.mine", "k": -2.5, "tau": 0.5}}})


@pytest.mark.parametrize("text", ["recipe.epochs=0", "device=gpu", "threads=0", "wandb.mode=onlin", "precision=fp16"])
def test_an_override_outside_its_limit_names_the_default(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^{text}: .* is needed; the default is "):
        check_text(text)


TYPES = [
    ("seed=abc", "a whole number"),
    ("seed=1.5", "a whole number"),
    ("seed=true", "a whole number"),
    ("seed=null", "a whole number"),
    ("seed=[1]", "a whole number"),
    ("recipe.optimizer.weight_decay=null", "a number from 0 on"),
    ("loss.gamma=null", "a number is needed; the default is 2.0"),
    ("recipe.epochs=1.5", "a whole number from 1 on is needed; the default is 1"),
    ("recipe.optimizer=adam", "a group of keys is needed"),
    ("recipe.optimizer.lr=fast", "a number from 0 on is needed; the default is 0.1"),
    ("recipe.optimizer.nesterov=1", "true or false is needed"),
    ("threads=many", "threads=many"),
    ("weights=a.pt", "a list is needed; the default is []"),
    ("note=3", "a string is needed"),
    ("force=1", "true or false is needed"),
    ("compile=fast", "one of auto, false, true, reduce-overhead, max-autotune is needed"),
    ("compile=1", "one of auto, false, true"),
    ("compile=null", "one of auto, false, true"),
    ("recipe.flip=null", "one of true, false, alternate is needed; the default is true"),
    ("dataset.limit=true", "a whole number from 1 on is needed; the default is null"),
    ("threads=[2]", "a whole number from 1 on is needed; the default is null"),
    ("wandb.entity=3", "a string or null is needed"),
]


@pytest.mark.parametrize(("text", "says"), TYPES)
def test_a_value_of_another_type_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        check_text(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


FITTING = ["seed=7", "recipe.optimizer.lr=1", "recipe.clip_grad_norm=null", "threads=2", "threads=null", "note='3'"]
FITTING += ["weights=[a,b]", "recipe.warmup_epochs=0.5", "dataset.limit=100", "dataset.limit=null", "compile=true"]
FITTING += ["wandb.entity=my-team", "wandb.entity=null"]
FITTING += ["+ood.mine.path=/x", "++ood.mine.path=/x", "+recipe.optimizer.maximize=true", "data_root=${oc.env:HOME}"]
FITTING += ["dataset.mean=[0.1,0.2,0.3]", "dataset.mean.0=0.5", "~ood.noise", "seed=1,2", "loss.gamma=choice(1,2)"]


@pytest.mark.parametrize("text", FITTING)
def test_a_value_that_fits_is_taken(text: str) -> None:
    check_text(text)
