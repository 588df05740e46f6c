"""The launch of train.py: the command is checked, Hydra runs it, a sweep ends with its numbers and unfinished runs."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oodbench.cli import sweep
from oodbench.cli.arguments import KEY, as_overrides
from oodbench.cli.checks import check_buildable, is_finished
from oodbench.cli.dry_run import dry_run
from oodbench.cli.errors import UsageError, plain_warnings, written
from oodbench.cli.help import help_text
from oodbench.cli.output import end_with_output
from oodbench.cli.overrides import parse, quote
from oodbench.cli.plan import plan
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.lock import run_by_workers
from oodbench.runs.signals import exit_on_signal
from oodbench.runs.status import state_of, summary, table
from oodbench.storage import UnwritableError, make_writable_folder

NOTHING_CHOSEN = """\
train.py trains a network and measures it. Nothing is chosen yet, and 200 epochs on a CPU take a day: nothing starts.

  python train.py loss=NAME                                      ResNet-18 on CIFAR-10, 200 epochs: for a GPU
  python train.py loss=NAME recipe=short dataset.limit=10000     a quick trial
  python train.py -m experiment=fast results_dir=results/mine    every loss, made for CPUs
  python train.py loss=NAME dataset=digits recipe=smoke          does it run? nothing to download

make demo trains every loss on small digits; dry_run=true says what a command would do; --help lists every key."""

MOST = 20  # unfinished runs that a sweep lists in the end


def launch(train: Callable[[], Any], arguments: Sequence[str]) -> None:
    """Call train, a `hydra.main` that reads sys.argv, once the arguments are known to be right.

    Without arguments nothing is trained: nobody starts a day's work by accident.
    """
    plain_warnings()
    end_with_output()
    if not arguments:
        print(NOTHING_CHOSEN)
        return
    sys.argv[1:] = arguments = [quote(argument) for argument in as_overrides(arguments)]
    try:
        if {"--help", "-h"} & set(arguments):
            print(help_text(arguments), end="")
            return
        runs, is_sweep = plan(arguments)
        check_buildable(runs)
        if runs and runs[0]["dry_run"]:  # Hydra would begin by making a folder
            dry_run(runs)
            return
        grid = runs if is_sweep else []
        for results_dir in {config["results_dir"] for config in grid}:  # Hydra writes there before any run does
            make_writable_folder(Path(results_dir, "runs"))
    except (UsageError, UnwritableError) as error:
        raise SystemExit(f"{Path(sys.argv[0]).name}: {' '.join(str(error).split())}") from None
    run(train, grid)
    if is_sweep and not grid:
        print("\n" + best_of_search(arguments))


def run(train: Callable[[], Any], grid: Sequence[Config]) -> None:
    """Call train, which does the runs of a grid, or one run or a search, where the grid is empty.

    After a grid it prints the numbers of the finished runs and then the others. Raises SystemExit with status 1 if
    there are others; with force=true those whose record is still the old one are, too.
    """
    folders = [RunFolder.of(config) for config in grid]
    before = [written(folder.metrics) for folder in folders]
    sweep.begin([is_finished(config) and not config["force"] for config in grid])
    try:
        with exit_on_signal(lambda: run_by_workers(folder.path for folder in folders)):
            train()
    finally:
        finished = [
            is_finished(config) and (not config["force"] or written(folder.metrics) != time)
            for config, folder, time in zip(grid, folders, before, strict=True)
        ]
        if grid:
            print("\n" + sweep_summary(folders, finished))
    if not all(finished):
        raise SystemExit(1)


def sweep_summary(folders: Sequence[RunFolder], finished: Sequence[bool]) -> str:
    """Return the numbers of the finished runs of a sweep, then the runs that are not finished, then how many are."""
    states = [state_of(f.path, f.results_dir, done) for f, done in zip(folders, finished, strict=True)]
    others = [state for state in states if state.state != "done"]
    paths = dict.fromkeys(f.path for f, done in zip(folders, finished, strict=True) if done)  # two jobs may be one run
    parts = [finished_table(list(paths))]
    if others:
        rows = table(others[:MOST]).rpartition("\n\n")[0]
        parts.append(rows + f"\nand {len(others) - MOST} more" * (len(others) > MOST))
    return "\n\n".join([*filter(None, parts), summary(state.state for state in states)])


def best_of_search(arguments: Sequence[str]) -> str:
    """Return what a search has found, and the file that has it."""
    places = [str(parse([argument])[0].value()) for argument in arguments if argument.startswith(KEY)]
    file = Path((places or ["results"])[-1], "runs", "optimization_results.yaml")
    return f"{file.read_text('utf-8')}{file}" if file.is_file() else f"the search left no {file}"


def finished_table(folders: Sequence[Path]) -> str:
    """Return the table of these finished runs, and a line for each that cannot be read."""
    if not folders:
        return ""
    from oodbench.tables.load import load_run
    from oodbench.tables.overview import overview  # brings scipy

    read, unreadable = [], []
    for folder in folders:
        try:
            read.append(load_run(folder, lambda *number: False))
        except ValueError as error:
            unreadable.append(f"left out: {error}")
    return "\n\n".join(filter(None, [overview(read), "\n".join(unreadable)]))
