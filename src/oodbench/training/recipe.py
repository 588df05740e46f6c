"""Recipe of a training: the values of conf/recipe, and the learning rate of every step."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Recipe:
    """The values of one file of conf/recipe."""

    epochs: int
    batch_size: int
    optimizer: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    schedule: Callable[[float], float]  # share of the steps after warm-up -> factor of the learning rate
    warmup_epochs: float  # the learning rate grows linearly from 0
    clip_grad_norm: float | None
    crop_padding: int  # pixels around the image from which it is cropped
    crop_fill: str  # what they show: "black", or "reflect", the image's mirror image
    flip: bool | str  # horizontally: half of the time, never, or "alternate", see `sample_augmentation`
    batch_norm_images: int  # training images that batch norm's statistics are estimated from after training; 0: none


def cosine(share: float, final: float) -> float:
    """final + (1 - final) (1 + cos(pi share)) / 2   (Loshchilov & Hutter, 2017, eq. 5, without restarts)"""
    return final + (1 - final) * (1 + math.cos(math.pi * share)) / 2


def linear(share: float, final: float) -> float:
    """1 + (final - 1) share"""
    return 1 + (final - 1) * share


def steps(share: float, at: Sequence[float], factor: float) -> float:
    """factor^(how many shares of `at` have been reached)"""
    return float(factor ** sum(share >= each for each in at))


def learning_rate_factor(step: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """(step + 1) / W in the W steps of warm-up, then schedule((step - W) / (all steps - W)); steps count from 0"""
    warmup = round(recipe.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    return recipe.schedule((step - warmup) / (recipe.epochs * steps_per_epoch - warmup))
