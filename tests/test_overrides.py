"""Overrides are checked against conf/: keys, types, ranges and choices, each with what is available instead."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.config import CONF, composed, configuration
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from oodbench.overrides import LIMITS, UsageError, check, check_choices, check_limits, is_choice, parse

DEFAULTS: Any = OmegaConf.to_container(composed("dataset=digits", "recipe=smoke", "loss=focal"), resolve=False)

CONFIG = configuration()
INSIDE: dict[str, list[Any]] = {
    "seed": [0, 2**63 - 1],
    "device": ["auto", "cpu", "mps", "cuda", "cuda:0", "cuda:12"],
    "devices": [1, 8],
    "runs_per_gpu": [1, 4],
    "precision": ["auto", "bf16", "fp32", "tf32"],
    "compile": [False, True, "reduce-overhead", "max-autotune"],
    "threads": [1, 64],
    "checkpoint_share": [0, 0.01, 1],
    "wandb.mode": ["disabled", "offline", "online"],
    "validation.images": [0, 5000],
    "dataset.size": [8, 32, 1024],
    "dataset.num_classes": [2, 1000],
    "dataset.limit": [1, 50_000],
    "dataset.limit_test": [1, 10_000],
    "backbone.width": [1, 64],
    "recipe.epochs": [1, 200],
    "recipe.batch_size": [1, 128],
    "recipe.optimizer.lr": [0, 0.1, 1e30],
    "recipe.optimizer.momentum": [0, 0.9, 1],
    "recipe.optimizer.weight_decay": [0, 5e-4],
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
    "devices": [0, -1],
    "runs_per_gpu": [0, -3],
    "precision": ["fp16", "float32", "BF16"],
    "compile": ["fast", 1, 0],
    "threads": [0, -2],
    "checkpoint_share": [-0.1, 1.1, math.inf, math.nan],
    "wandb.mode": ["onlin", "on"],
    "validation.images": [-1],
    "dataset.size": [0, 4, 33, 1032],
    "dataset.num_classes": [1, 0],
    "dataset.limit": [0, -5],
    "dataset.limit_test": [0, -5],
    "backbone.width": [0, -4],
    "recipe.epochs": [0, -3],
    "recipe.batch_size": [0, -1],
    "recipe.optimizer.lr": [-0.1, math.nan, math.inf],
    "recipe.optimizer.momentum": [-0.1, 1.5, math.nan],
    "recipe.optimizer.weight_decay": [-1e-4, math.inf],
    "recipe.schedule.final": [-0.1, 2],
    "recipe.warmup_epochs": [-1, math.nan],
    "recipe.clip_grad_norm": [0, -1, math.inf],
    "recipe.crop_padding": [-1],
    "recipe.crop_fill": ["white"],
    "recipe.flip": ["maybe", 1],
    "recipe.batch_norm_images": [-1],
}


@pytest.fixture(autouse=True, scope="module")
def _hydra() -> Iterator[None]:
    """Hydra as it is while the command line is read."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def checked(text: str) -> None:
    (override,) = parse([text])
    check_choices(override)
    if not is_choice(override):
        check(override, DEFAULTS)


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


@pytest.mark.parametrize("text", ["recipe.epochs=0", "device=gpu", "threads=0", "wandb.mode=onlin", "precision=fp16"])
def test_an_override_outside_its_limit_names_the_default(text: str) -> None:
    with pytest.raises(UsageError, match=rf"^{text}: .* is needed; the default is "):
        checked(text)


KEYS = [
    ("loss.gama=1", "loss has no gama; did you mean loss.gamma? available: gamma"),
    ("lr=1", "the configuration has no lr; did you mean recipe.optimizer.lr? available:"),
    ("+lr=1", "the configuration has no lr"),
    ("+recipe.warmup=3", "recipe has no warmup; did you mean recipe.warmup_epochs?"),
    ("recipe.epoch=3", "did you mean recipe.epochs?"),
    ("wandb.mod=offline", "did you mean wandb.mode?"),
    ("recipe.optimizer.betta=1", "recipe.optimizer has no betta"),
    ("ood.leaves.path=/x", "ood has no leaves; to add one, put + before it: +ood.leaves.path=... ; available: noise, "),
    ("detector.knn.k=3", "detector has no knn; to choose it: detector=[knn]; chosen: energy, maxlogit, msp, ood_score"),
    ("seed.x=1", None),
]


@pytest.mark.parametrize(("text", "says"), KEYS)
def test_a_key_that_is_not_there_names_its_neighbours(text: str, says: str | None) -> None:
    if says is None:
        checked(text)  # below what is no group: Hydra itself says so
        return
    with pytest.raises(UsageError) as error:
        checked(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


TYPES = [
    ("seed=abc", "a whole number"),
    ("seed=1.5", "a whole number"),
    ("seed=true", "a whole number"),
    ("seed=null", "a whole number"),
    ("seed=[1]", "a whole number"),
    ("recipe.epochs=1.5", "a number from 1 on is needed; the default is 1"),
    ("recipe.optimizer=adam", "a group of keys is needed"),
    ("recipe.optimizer.lr=fast", "a number from 0 on is needed; the default is 0.1"),
    ("recipe.optimizer.nesterov=1", "true or false is needed"),
    ("threads=many", "threads=many"),
    ("weights=a.pt", "a list is needed; the default is []"),
    ("note=3", "a text is needed"),
    ("force=1", "true or false is needed"),
    ("compile=fast", "one of false, true, reduce-overhead, max-autotune is needed"),
    ("compile=1", "one of false, true"),
]


@pytest.mark.parametrize(("text", "says"), TYPES)
def test_a_value_of_another_type_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        checked(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


FITTING = ["seed=7", "recipe.optimizer.lr=1", "recipe.clip_grad_norm=null", "threads=2", "threads=null", "note='3'"]
FITTING += ["weights=[a,b]", "recipe.warmup_epochs=0.5", "dataset.limit=100", "dataset.limit=null", "compile=true"]
FITTING += ["+ood.mine.path=/x", "++ood.mine.path=/x", "+recipe.optimizer.maximize=true", "data_root=${oc.env:HOME}"]
FITTING += ["dataset.mean=[0.1,0.2,0.3]", "dataset.mean.0=0.5", "~ood.noise", "seed=1,2", "loss.gamma=choice(1,2)"]


@pytest.mark.parametrize("text", FITTING)
def test_a_value_that_fits_is_taken(text: str) -> None:
    checked(text)


CHOICES = [
    ("loss=hallo", "loss hallo is not available; did you mean halo? available: ce, "),
    ("experiment=smal", "experiment smal is not available; available: demo"),
    ("detector=null", "a list is needed; detector=[] for none"),
    ("recipe=[short,smok]", "recipe smok is not available; did you mean smoke?"),
    ("detector=[knnn]", "detector knnn is not available; did you mean knn? available: all, ash_b"),
    ("detector=knnn", "did you mean knn?"),
    ("ood=[foo]", "ood foo is not available; available: cifar10, "),
    ("ood@validation.ood=foo", "ood foo is not available"),
    ("detector=[odin]", "odin reads images: image_detector=[odin]"),
    ("image_detector=[knn]", "knn reads stored outputs: detector=[knn]"),
    ("hydra/launcher=slurn", "did you mean slurm?"),
]


@pytest.mark.parametrize(("text", "says"), CHOICES)
def test_a_choice_that_is_not_there_lists_what_is(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        checked(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text", ["loss=halo", "experiment=null", "detector=[all]", "detector=all", "ood=[]", "ood=noise"]
)
def test_a_choice_that_is_there_is_taken(text: str) -> None:
    checked(text)
