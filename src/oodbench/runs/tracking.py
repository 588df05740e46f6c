"""Weights & Biases, where it is wanted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from oodbench.runs.folder import Run

Log = Callable[[Mapping[str, Any]], None]


@contextmanager
def track(run: Run, mode: str, project: str) -> Iterator[Log]:
    """A function that logs an epoch's row or the final numbers; it does nothing when mode is `disabled`.

    mode: disabled, offline or online. Runs are grouped by dataset and loss; a resumed run goes on under its id.
    """
    if mode == "disabled":
        yield lambda numbers: None
        return
    import wandb  # slow to import, and off by default

    name = run.config["name"]
    run.folder.mkdir(parents=True, exist_ok=True)
    with wandb.init(  # which marks a run that ends in an error as failed
        project=project,
        mode=mode,  # type: ignore[arg-type]
        dir=run.folder,
        config=run.config,
        group=f"{name['dataset']}/{name['loss']}",
        name=f"{name['loss']} seed {run.config['seed']}",
        id=f"{name['dataset']}-{name['backbone']}-{name['loss']}-{run.hash}-{run.config['seed']}",
        resume="allow" if mode == "online" else None,
    ) as session:
        yield lambda numbers: session.log(dict(numbers))
