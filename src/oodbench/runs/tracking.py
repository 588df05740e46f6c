"""Weights & Biases, where it is asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config


class Log(NamedTuple):
    """Functions that log the row of an epoch, and the record of a finished run."""

    epoch: Callable[[Mapping[str, float]], None]
    result: Callable[[Mapping[str, Any]], None]


NO_LOG = Log(lambda row: None, lambda record: None)


@contextmanager
def track(folder: RunFolder, config: Config) -> Iterator[Log]:
    """Give the functions that log; they do nothing when `wandb.mode` is disabled.

    Epochs are logged as train/<name> over the axis `epoch`, numbers of the test and OOD sets as test/<name>. Runs are
    grouped by dataset and loss; a resumed run continues under its id. Raises ImportError, with the way to install it,
    where wandb is missing.
    """
    settings = config["wandb"]
    if settings["mode"] == "disabled":
        yield NO_LOG
        return
    try:
        import wandb  # takes a second, and is off by default
    except ImportError as error:
        raise ImportError(f"wandb.mode={settings['mode']} needs wandb: pip install 'oodbench[wandb]'") from error

    run = folder.run
    folder.path.mkdir(parents=True, exist_ok=True)
    with wandb.init(  # marks a run that ends in an error as failed
        project=settings["project"],
        entity=settings["entity"],
        mode=settings["mode"],
        dir=folder.path,
        config=config,
        group=f"{run.dataset}/{run.loss}",
        name=f"{run.loss} seed {run.seed}",
        id=f"{run.dataset}-{run.backbone}-{run.loss}-{run.hash}-{run.seed}",
        resume="allow" if settings["mode"] == "online" else None,
    ) as session:
        session.define_metric("epoch")
        session.define_metric("train/*", step_metric="epoch")
        yield Log(
            lambda row: session.log(epoch_row(row)),
            lambda record: session.log({"test": metrics_of(record)}),
        )


def metrics_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return every metric of the test images, and of the OOD sets those of every detector."""
    return {name: value for name, value in record.items() if isinstance(value, float) or name == "ood"}


def epoch_row(row: Mapping[str, float]) -> dict[str, float]:
    """Return the row with `train/` before each name but the axis."""
    return {name if name == "epoch" else f"train/{name}": value for name, value in row.items()}
