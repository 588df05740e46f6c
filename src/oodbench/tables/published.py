"""Rows of other people's tables, read from their file."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from oodbench.evaluation.metric import SHARE, Unit
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.storage import errors_name
from oodbench.tables.settings import printed

Bounds = tuple[float, float]
UNSTATED = "fpr95_unstated"  # of a source that does not name its convention


class Protocol(NamedTuple):
    """A published protocol and the runs that follow it."""

    name: str
    runs: dict[str, str]  # {key of a run's configuration, test_images or train_images: printed value}
    near: dict[str, tuple[str, ...]]  # {data set: sets of the near mean}
    far: tuple[str, ...]
    images: dict[str, dict[str, Bounds]]  # {OOD set: {data set, or "" for all: of the number of its images}}
    about: str

    def bounds(self, dataset: str, ood: str) -> Bounds:
        """Return the least and the most images of a set with which a run is compared."""
        by_dataset = self.images.get(ood, {})
        return by_dataset.get(dataset) or by_dataset.get("") or (0, math.inf)


class Number(NamedTuple):
    """A number as metrics.json has it, mostly a share, and its deviation over runs where the source gives one."""

    value: float
    deviation: float | None

    def text(self, unit: Unit) -> str:
        """Format it as the source does."""
        spread = "" if self.deviation is None else f" ± {unit.text(self.deviation)}"
        return unit.text(self.value) + spread


class Published(NamedTuple):
    """A row of somebody else's table."""

    dataset: str
    loss: str
    score: str
    backbone: str
    source: str
    about: str
    verified: bool
    deviation: str  # what ± is: "population" or ""
    protocol: Protocol | None  # None: no run of this project is comparable
    ours: dict[str, str] | None  # {key: printed value} of runs with the same loss and data set
    detectors: tuple[str, ...]  # the same score, or those that a score which is not stated may be
    note: str
    numbers: dict[str, Number]  # {metric of the test images or "<OOD set, near or far>.<metric>": number}


def load_published(path: Path) -> list[Published]:
    """Return the rows of results/published.yaml, whose header says what it holds. Raises ValueError naming the file."""
    with errors_name(path):
        content = yaml.safe_load(path.read_text("utf-8"))
        protocols = {name: _protocol(name, **fields) for name, fields in content["protocols"].items()}
        datasets = {name: _printed(keys) for name, keys in content["datasets"].items()}
        losses = {name: _printed(keys) for name, keys in content["losses"].items()}
        scores = {name: _listed(detectors) for name, detectors in content["scores"].items()}
        return [
            Published(
                dataset=dataset,
                loss=row.pop("loss"),
                score=row.pop("score"),
                note=row.pop("note") or "",
                backbone=source["backbone"],
                source=source["source"],
                about=source["about"],
                verified=source["verified"],
                deviation=source.get("deviation", ""),
                protocol=source["protocol"] and protocols[source["protocol"]],
                ours=datasets[dataset] | losses[loss] if loss in losses else None,
                detectors=scores.get(score, ()),
                numbers={key: _number(text, _unit(key)) for key, text in row.items() if text},
            )
            for source in content["sources"]
            for dataset, rows in source["rows"].items()
            for row in csv.DictReader(rows.splitlines(), strict=True)
            for loss, score in [(row["loss"], row["score"])]
        ]


def _protocol(
    name: str,
    runs: Mapping[str, Any],
    about: str,
    near: Any = None,
    far: Any = (),
    images: Any = None,
) -> Protocol:
    near = {dataset: tuple(sorted(sets)) for dataset, sets in (near or {}).items()}
    bounds = {ood: _bounds(numbers) for ood, numbers in (images or {}).items()}
    return Protocol(name, _printed(runs), near, tuple(sorted(far)), bounds, about)


def _bounds(numbers: Any) -> dict[str, Bounds]:
    """26032 -> {"": (26032, inf)}, [7000, 8000] -> {"": (7000, 8000)}; of a mapping each data set's"""
    by_dataset = numbers if isinstance(numbers, dict) else {"": numbers}
    return {dataset: (*_listed(each), math.inf)[:2] for dataset, each in by_dataset.items()}


def _listed(one_or_several: Any) -> tuple[Any, ...]:
    return tuple(one_or_several) if isinstance(one_or_several, list) else (one_or_several,)


def _printed(keys: Mapping[str, Any]) -> dict[str, str]:
    return {key: printed(value) for key, value in keys.items()}


def _number(text: str, unit: Unit) -> Number:
    """ "95.06±0.30", as printed in a unit -> as in metrics.json"""
    value, _, deviation = text.partition("±")
    return Number(float(value) / unit.factor, float(deviation) / unit.factor if deviation else None)


def _unit(key: str) -> Unit:
    """Return the unit of a column. Raises ValueError where it names no metric."""
    ood, _, metric = key.rpartition(".")
    if metric not in ([*OOD_METRICS, UNSTATED] if ood else ID_METRICS):
        raise ValueError(f"column {key}: {metric} is no metric" + " of an OOD set" * bool(ood))
    return unit_of(metric)


def unit_of(metric: str) -> Unit:
    """Return the unit of a published metric, UNSTATED included."""
    return SHARE if metric == UNSTATED else metric_of(metric).unit
