"""The numbers of one run, made three ways: from the network, from stored outputs, and by code that shares none of ours.

On real images where OODBENCH_DATA names their folder, else on the embedded digits.
"""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from helpers.cli import LIMITED, Finished, copied, finish, numbers_in, script
from helpers.config import names
from independent import Array, Arrays, compared
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from oodbench.build import open_data
from oodbench.commands.evaluate import detectors, rescored

DATA = Path(os.environ.get("OODBENCH_DATA", "none"))
REAL = (DATA / "cifar10/train.parquet").exists()
CIFAR = ("dataset=cifar10", "dataset.limit=1000", "dataset.limit_test=500", "ood=[cifar100,mnist]", "recipe=smoke")
SMALL = (*CIFAR, "backbone.width=8", "device=cpu", "precision=fp32") if REAL else LIMITED
DETECTORS = "detector=[ood_score,msp,maxlogit,energy,knn,mahalanobis]"
LOSSES = [
    *names("loss"),
    "halo variant=notes",
    "halo gamma=3 abstain_bias=0.5",
    "circle variant=pairwise_global",
    "circle variant=pairwise_per_anchor",
]
slow_but_one = [pytest.param(loss, marks=() if loss == "ce" else pytest.mark.slow) for loss in LOSSES]


def run_of(results: Path, loss: str) -> Finished:
    name, *hyperparameters = loss.split()
    return finish(
        results, f"loss={name}", *(f"loss.{each}" for each in hyperparameters), *SMALL, DETECTORS, "threads=1"
    )


@pytest.fixture(scope="module")
def ce(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return run_of(tmp_path_factory.mktemp("ce"), "ce")


def config_of(run: Finished) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((run.folder / "config.yaml").read_text())
    return config


def disagreeing(run: Finished) -> list[str]:
    return [f"{row.name}: {row.ours} and {row.independent}" for row in compared(run.folder) if not row.agrees]


# ---- three ways


@pytest.mark.parametrize("loss", slow_but_one)
def test_three_ways_give_the_same_numbers(loss: str, tmp_path: Path) -> None:
    run = run_of(tmp_path, loss)
    assert disagreeing(run) == []
    check_features(run)
    rescored(run.folder, *detectors([DETECTORS]), None)
    assert numbers_in(run.folder) == run.metrics


def check_features(run: Finished) -> None:
    """The stored features are those of a plain forward pass over the images."""
    config, weights = config_of(run), load_file(run.folder / "model.safetensors")
    data = open_data(config)
    for name, split in {"train": data.train, "test": data.test, **data.ood}.items():
        stored = load_file(run.folder / f"outputs/{name}.safetensors")
        features = resnet18_features(weights, split.images, config["dataset"]["mean"], config["dataset"]["std"])
        np.testing.assert_allclose(stored["features"], features, rtol=1e-4, atol=1e-5 * features.max())
        np.testing.assert_array_equal(stored["labels"], split.labels)


@torch.inference_mode()
def resnet18_features(weights: Arrays, images: Array, mean: list[float], std: list[float]) -> Array:
    """(N, 32, 32, 3) uint8 -> (N, D) float32   (He et al., 2016, with a 3x3 stem and no max-pool)"""
    w = {name.removeprefix("backbone."): torch.from_numpy(array) for name, array in weights.items()}

    def conv(x: Tensor, name: str, bn: str, stride: int = 1) -> Tensor:
        kernel = w[f"{name}.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        shift, variance, scale, bias = (w[f"{bn}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, shift, variance, scale, bias)

    x = torch.from_numpy((images / 255 - mean) / std).float().permute(0, 3, 1, 2)
    x = conv(x, "conv1", "bn1").relu()
    for block in (f"layer{stage}.{i}" for stage in (1, 2, 3, 4) for i in (0, 1)):
        stride = 2 if block in ("layer2.0", "layer3.0", "layer4.0") else 1
        out = conv(x, f"{block}.conv1", f"{block}.bn1", stride).relu()
        out = conv(out, f"{block}.conv2", f"{block}.bn2")
        if f"{block}.shortcut.0.weight" in w:
            x = conv(x, f"{block}.shortcut.0", f"{block}.shortcut.1", stride)
        x = (out + x).relu()
    return x.mean((2, 3)).numpy()


@pytest.mark.skipif(not REAL, reason="needs OODBENCH_DATA: CIFAR-10, CIFAR-100 and MNIST as parquet files")
def test_the_images_are_those_of_the_files(ce: Finished) -> None:
    data = open_data(config_of(ce))
    for split, name, n in ((data.train, "train", 1000), (data.test, "test", 500)):
        table = pd.read_parquet(DATA / f"cifar10/{name}.parquet").groupby("label").head(n // 10)
        np.testing.assert_array_equal(split.labels, table["label"])
        np.testing.assert_array_equal(split.images, [pixels(each) for each in table["img"]])
    for name, column in (("cifar100", "img"), ("mnist", "image")):
        rows = pd.read_parquet(DATA / f"{name}/test.parquet")[column][::20]  # 500 of 10,000
        np.testing.assert_array_equal(data.ood[name].images, [pixels(each) for each in rows])


def pixels(encoded: dict[str, bytes]) -> Array:
    image = Image.open(io.BytesIO(encoded["bytes"])).convert("RGB")
    return np.asarray(image if image.size == (32, 32) else image.resize((32, 32), Image.Resampling.BILINEAR))


# ---- the check can fail


def test_a_wrong_number_is_noticed(ce: Finished, tmp_path: Path) -> None:
    run = copied(ce, tmp_path / "copy")._replace(metrics=numbers_in(ce.folder))
    run.metrics["brier"] += 1e-6
    run.metrics["calibration"]["temperature_scaled"]["mce"] += 1e-6
    for scores in run.metrics["ood"].values():
        scores["energy"]["fpr95_oodpos"] += 1e-6
    (run.folder / "metrics.json").write_text(json.dumps(run.metrics))
    assert len(disagreeing(run)) == 2 + len(run.metrics["ood"])


@pytest.mark.parametrize("name", ["features", "logits", "log_probs", "ood_score"])
def test_wrong_outputs_are_noticed(name: str, ce: Finished, tmp_path: Path) -> None:
    run = copied(ce, tmp_path / "copy")
    file = run.folder / "outputs/test.safetensors"
    outputs = load_file(file)
    save_file(outputs | {name: outputs[name] + outputs[name].dtype.type(0.01)}, file)
    assert disagreeing(run)


def test_the_script_prints_every_number(ce: Finished) -> None:
    *table, verdict = script("tests/independent.py", ce.folder).splitlines()
    assert verdict == f"all {len(compared(ce.folder))} numbers agree"
    assert len(table) == 1 + len(compared(ce.folder))
