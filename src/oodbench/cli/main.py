"""The command of train.py: checked, then run by Hydra, a sweep's runs listed in the end."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oodbench.cli.checks import check_buildable, is_finished
from oodbench.cli.dry_run import dry_run
from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import quote
from oodbench.cli.plan import plan
from oodbench.runs.folder import RunFolder
from oodbench.runs.lock import run_by_workers
from oodbench.runs.signals import exit_on_signal
from oodbench.runs.status import state_of, table
from oodbench.storage import UnwritableError, make_writable_folder


def main(train: Callable[[], Any], arguments: Sequence[str]) -> None:
    """Call train, a `hydra.main` that reads sys.argv, once the arguments are known to be right.

    After a sweep over a grid: a table of its runs, and SystemExit with status 1 where one is not finished.
    """
    sys.argv[1:] = arguments = [quote(argument) for argument in arguments]
    try:
        runs, is_sweep = plan(arguments)
        check_buildable(runs)
        if runs and runs[0]["dry_run"]:  # Hydra would begin by making a folder
            dry_run(runs)
            return
        sweep = runs if is_sweep else []
        for results_dir in {config["results_dir"] for config in sweep}:  # Hydra writes there before any run does
            make_writable_folder(Path(results_dir, "runs"))
    except (UsageError, UnwritableError) as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}") from None
    folders = [RunFolder.of(config) for config in sweep]
    try:
        with exit_on_signal(lambda: run_by_workers(folder.path for folder in folders)):
            train()
    finally:
        finished = [is_finished(config) for config in sweep]
        if sweep:
            states = [state_of(f.path, f.results_dir, done) for f, done in zip(folders, finished, strict=True)]
            print("\n" + table(states))
    if not all(finished):
        raise SystemExit(1)
