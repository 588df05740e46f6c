"""A dry run: what a command would do, and which data it lacks."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from functools import cache

from oodbench.cli.checks import data_problem, is_finished
from oodbench.phrases import counted
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config

DATA = ("dataset", "ood", "validation", "allow_overlap")  # keys that say which sets a run opens


def dry_run(runs: Sequence[Config]) -> None:
    """Print a line for each run, then each reason why data are missing once.

    Raises SystemExit with status 1 where data are missing. Nothing is downloaded.
    """
    os.environ["OODBENCH_OFFLINE"] = "1"
    problem = cache(lambda sets: data_problem(json.loads(sets)))  # of a hundred runs most read the same sets
    lacking: Counter[str] = Counter()
    for config in runs:
        state, why = "finished", ""
        if config["force"] or not is_finished(config):
            why = problem(json.dumps({key: config[key] for key in DATA}))
            state = "no data" if why else "to do"
        print(f"{state:<8}  {RunFolder.of(config).path}", flush=True)
        lacking.update([why] * bool(why))
    for why, n in lacking.items():
        print(f"{counted(n, 'run')} cannot start: {why}")
    if lacking:
        raise SystemExit(1)
