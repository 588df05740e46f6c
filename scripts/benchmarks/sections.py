"""A part of results/bench.md, and what all parts measure themselves by."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from benchmarks.contest import Actions, Seconds
from oodbench.tables.render import markdown_table
from oodbench.training.device import pick_device

ROOT = Path(__file__).resolve().parents[2]
SIDE = 2048  # of the matrices whose product is the limit
PRODUCTS, COPIES = 20, 500  # in an action
COPIED = 128 * 3 * 32 * 32 * 4  # bytes of a copy: a batch of float32 images


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


def finished(work: Callable[[], Any]) -> None:
    """Done when the device is done."""
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def limits(device: str) -> Actions:
    """What the machine does at its best: the products that networks are made of, and copies of a batch's size."""
    torch.manual_seed(0)
    where = pick_device(device)
    a, source = torch.randn(2, SIDE, SIDE).to(where), torch.zeros(COPIED, dtype=torch.uint8, device=where)
    halves, target = a.bfloat16(), torch.empty_like(source)
    actions: Actions = {
        "bf16": lambda: [halves[0] @ halves[1] for _ in range(PRODUCTS)],
        "fp32": lambda: [a[0] @ a[1] for _ in range(PRODUCTS)],
        "copy": lambda: [target.copy_(source) for _ in range(COPIES)],
    }
    return {name: partial(finished, action) for name, action in actions.items()}


def at_products_rate(spent: Seconds, precision: str, operations: float) -> list[float]:
    """Seconds that so many operations take at the rate of a matrix product, of every repeat"""
    return [seconds * operations / (PRODUCTS * 2 * SIDE**3) for seconds in spent["limit", precision]]


def at_copys_rate(spent: Seconds, size: int) -> list[float]:
    """Seconds that a copy of so many bytes takes, of every repeat"""
    return [seconds * size / (COPIES * COPIED) for seconds in spent["limit", "copy"]]


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


def written(options: str, machine: str, repeats: int, plain_workers: int, parts: Sequence[Section]) -> str:
    """The whole page."""
    targets = {what: target for part in parts for what, target in part.targets.items()}
    rows = [
        [what, f"{'at most' if t.most else 'at least'} {t.wanted:g}", f"{t.measured:.3g}", "yes" if t.reached else "no"]
        for what, t in targets.items()
    ]
    head = [
        "# How fast",
        f"Made by `python scripts/bench.py{options}` on: {machine}. Whatever is compared took turns, {repeats} times "
        "(the passes of (e) fewer), every way in a process of its own. Figures are medians; a ratio is the median of "
        "the ratios of the repeats, with their range. The machine may drift: ratios count. The plain way: a "
        f"DataLoader (num_workers={plain_workers}) over PIL images, float32, NCHW, a pass over the images for every "
        "score, scikit-learn; on a CPU it loads in its own process, where workers would compete with the network.",
        "## Targets",
        markdown_table(["", "wanted", "measured", "reached"], rows, words=1),
    ]
    return "\n\n".join([*head, *map(str, parts)])
