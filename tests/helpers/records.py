"""Records of runs made without a training, as a start after another leaves them."""

from typing import Any

from oodbench.runs.identity import Config
from oodbench.runs.merge import merge
from oodbench.runs.record import Record, is_complete, requested

NUMBERS: Record = {"accuracy": 0.5, "ece": 0.1, "nll": 1.0, "brier": 0.5}
HELD_OUT = {"images": 80, "ood": {"_target_": "noise"}, "objective": "ood.msp.auroc"}
REASON = "needs a linear head; this loss has none"


def config(
    *ood: str, detectors: tuple[str, ...] = ("msp", "energy"), near: tuple[str, ...] = (), **settings: Any
) -> Config:
    """Return the parts of a configuration that say what is asked for; settings: of detectors by their names."""
    return {
        "dataset": {"near": list(near)},
        "ood": {name: {"_target_": name, "root": "/data"} for name in ood},
        "detector": {name: {"_target_": name} | settings.get(name, {}) for name in detectors},
    }


def finish(
    before: Record | None,
    asked: Config,
    auroc: float = 0.5,
    without: tuple[str, ...] = (),
    digest: str = "digest of",
    others: tuple[str, ...] = (),
    without_held_out: tuple[str, ...] = (),
) -> Record:
    """Return the record after a start whose every number of detectors is `auroc`; those in `without` do not apply.

    digest: what the images' begin with; of the sets in `others` it is another. without_held_out: detectors that do not
    apply to the held-out images.
    """
    request = requested(asked)
    scores = {d: {"auroc": auroc} for d in request.detectors if d not in without}
    numbers = NUMBERS | {"ood": {name: dict(scores) for name in request.ood}}
    numbers |= {"not_applicable": dict.fromkeys(without, REASON)}
    if request.validation:
        held_out = {d: values for d, values in scores.items() if d not in without_held_out}
        reasons = dict.fromkeys((*without, *without_held_out), REASON)
        numbers["validation"] = {"nll": 2.0, "ood": held_out, "not_applicable": reasons}
    sets = ["train", "test", *request.ood, *["val_ood"] * bool(request.validation)]
    facts = {"seed": 0, "images": dict.fromkeys(sets, 7), "digests": {name: f"{digest} {name}" for name in sets}}
    facts["digests"] |= dict.fromkeys(others, "another")
    return merge(before, numbers, facts, request)


def aurocs(record: Record) -> dict[str, dict[str, float]]:
    return {name: {d: values["auroc"] for d, values in of.items()} for name, of in record["ood"].items()}


def complete(record: Record | None, asked: Config) -> bool:
    return is_complete(record, requested(asked))
