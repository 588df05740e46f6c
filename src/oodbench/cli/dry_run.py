"""A dry run: what a command would do, and which data it lacks."""

import json
import os
from collections.abc import Sequence

from oodbench.cli.checks import data_problem, is_finished
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config

DATA = ("dataset", "ood", "validation", "allow_overlap")  # keys that say which sets a run opens


def dry_run(runs: Sequence[Config]) -> None:
    """Print a line for each run. Raises SystemExit with status 1 where data of a run are missing.

    Nothing is downloaded.
    """
    os.environ["OODBENCH_OFFLINE"] = "1"
    problems: dict[str, str] = {}  # of a hundred runs most read the same sets
    for config in runs:
        is_done = is_finished(config) and not config["force"]
        print(f"{'finished' if is_done else 'to do':<8}  {RunFolder.of(config).path}", flush=True)
        if is_done:
            continue
        sets = json.dumps([config[key] for key in DATA])
        if sets not in problems:
            problems[sets] = data_problem(config)
        if problems[sets]:
            print(f"          cannot start: {problems[sets]}")
    if any(problems.values()):
        raise SystemExit(1)
