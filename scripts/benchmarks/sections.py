"""A part of results/bench.md, and what all parts measure themselves by."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from benchmarks.contest import Actions, Seconds
from oodbench.tables.render import markdown_table

ROOT = Path(__file__).resolve().parents[2]
SIDE = 2048  # of the matrices whose product is the limit
PRODUCTS, COPIES = 20, 10  # in an action
COPIED = 2**27  # bytes of a copy


class Target(NamedTuple):
    measured: float
    wanted: float
    most: bool = False  # that is wanted at most, not at least

    @property
    def reached(self) -> bool:
        return self.measured <= self.wanted if self.most else self.measured >= self.wanted


class Section(NamedTuple):
    title: str
    text: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    targets: Mapping[str, Target] = {}

    def __str__(self) -> str:
        return f"## {self.title}\n\n{self.text}\n\n{markdown_table(self.header, self.rows, words=1)}\n"


def limits() -> Actions:
    """What no code of this machine's libraries exceeds: the products that the network is made of, and a copy."""
    torch.manual_seed(0)
    a, source = torch.randn(2, SIDE, SIDE), torch.zeros(COPIED, dtype=torch.uint8)
    halves, target = a.bfloat16(), torch.empty_like(source)
    return {
        "bf16": lambda: [halves[0] @ halves[1] for _ in range(PRODUCTS)],
        "fp32": lambda: [a[0] @ a[1] for _ in range(PRODUCTS)],
        "copy": lambda: [target.copy_(source) for _ in range(COPIES)],
    }


def flops(spent: Seconds, precision: str) -> float:
    """Operations a second of a matrix product"""
    return PRODUCTS * 2 * SIDE**3 / statistics.median(spent["limit", precision])


def copy_rate(spent: Seconds) -> float:
    """Bytes a second that a copy writes"""
    return COPIES * COPIED / statistics.median(spent["limit", "copy"])


def composed(*overrides: str) -> DictConfig:
    """The configuration that `python train.py <overrides>` sees."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg


def objective_of(loss: str, num_features: int, num_classes: int) -> Any:
    from hydra.utils import instantiate

    node = composed(*f"loss={loss}".split()).loss
    return instantiate(node, num_features=num_features, num_classes=num_classes)


def written(machine: str, repeats: int, parts: Sequence[Section]) -> str:
    """The whole page."""
    targets = {what: target for part in parts for what, target in part.targets.items()}
    rows = [
        [what, f"{'at most' if t.most else 'at least'} {t.wanted:g}", f"{t.measured:.3g}", "yes" if t.reached else "no"]
        for what, t in targets.items()
    ]
    head = [
        "# How fast",
        f"Made by `python scripts/bench.py` on: {machine}. Whatever is compared took turns, {repeats} times (the "
        "passes of (e) fewer), every way in a process of its own. Figures are medians; a ratio is the median of the "
        "ratios of the repeats, with their range. The machine is shared and drifts by a factor of two within hours: "
        "the ratios are what counts.",
        "## Targets",
        markdown_table(["", "wanted", "measured", "reached"], rows, words=1),
    ]
    return "\n\n".join([*head, *map(str, parts)])
