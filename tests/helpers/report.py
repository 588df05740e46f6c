"""Results folders for reports, with and without stored outputs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from helpers.made_up import add_run, alter_metrics
from helpers.outputs import add_outputs

from oodbench.storage import write_json

HOSTILE = "<script>alert('x')</script>&\"><img src=x onerror=alert(2)>"
SETS = {"cifar100": 60, "svhn": 80}


def add_full_run(results: Path, loss: str, seed: int, auroc: float, *, with_outputs: bool = True) -> Path:
    """A run with resamples, and with outputs, which do not agree with its made-up numbers."""
    noise = 0.01 * np.random.default_rng([seed, len(loss)]).normal(size=1000)
    ood = {name: {"ood_score": auroc, "msp": auroc - 0.1, "energy": auroc - 0.05} for name in SETS}
    folder = add_run(results, loss, seed, ood=ood, noise=noise)
    if with_outputs:
        add_outputs(folder, SETS, seed=100 * seed + len(loss))
    run = f"{folder.parent.name.rpartition('-')[2]}/{folder.name}"
    (folder / "train.csv").write_text(f"run,epoch,loss,accuracy\n{run},1,2.0,0.3\n{run},2,1.0,0.6\n")
    return folder


def add_hostile_run(results: Path) -> Path:
    """A run whose texts are HTML, where a run's file can hold any text."""
    folder = add_run(results, "evil", config={"loss": {"tau": HOSTILE}}, not_applicable={"knn": HOSTILE})
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config + f"note: {json.dumps(HOSTILE)}\n")

    def change(metrics: dict[str, Any]) -> None:
        metrics["provenance"] |= {"processor": HOSTILE, "versions": {"torch": HOSTILE, HOSTILE: 1}}

    alter_metrics(folder, change)
    return folder


def add_odd_provenance(folder: Path) -> None:
    """Give a run a provenance of other types than a training writes."""
    metrics = {"wall_time_s": "long", "versions": [1], "digests": {"test": 3}, "ood": {"svhn": "none"}}
    alter_metrics(folder, lambda content: content["provenance"].update(metrics))


def add_garbage_run(results: Path) -> Path:
    """A run whose metrics.json is not one."""
    folder = add_run(results, "garbage")
    write_json(folder / "metrics.json", {"run": "another"})
    return folder
