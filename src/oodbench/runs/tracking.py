"""Weights & Biases, where it is asked for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oodbench.runs.identity import Config, RunId

Log = Callable[[Mapping[str, Any]], None]


@contextmanager
def track(run: RunId, folder: Path, config: Config, mode: str, project: str) -> Iterator[Log]:
    """Give a function that logs an epoch's row or the final numbers; it does nothing when mode is `disabled`.

    mode: disabled, offline or online. Runs are grouped by dataset and loss; a resumed run continues under its id.
    """
    if mode == "disabled":
        with no_log() as log:
            yield log
        return
    import wandb  # slow to import, and off by default

    folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(  # marks a run that ends in an error as failed
        project=project,
        mode=mode,  # type: ignore[arg-type]
        dir=folder,
        config=config,
        group=f"{run.dataset}/{run.loss}",
        name=f"{run.loss} seed {run.seed}",
        id=f"{run.dataset}-{run.backbone}-{run.loss}-{run.hash}-{run.seed}",
        resume="allow" if mode == "online" else None,
    ) as session:
        yield lambda numbers: session.log(dict(numbers))


@contextmanager
def no_log() -> Iterator[Log]:
    """Give a function that logs nothing."""
    yield lambda numbers: None
