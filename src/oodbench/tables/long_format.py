"""Runs -> one long table, a row a number: runs.csv."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from oodbench.evaluation.metrics import metric_of
from oodbench.evaluation.significance import Spread, over_seeds
from oodbench.tables.fields import Key
from oodbench.tables.labels import protocol, row_of
from oodbench.tables.means import common_means, with_means
from oodbench.tables.results import Result

RUN = ["dataset", "backbone", "loss", "recipe", "hash", "seed", "epochs", "train_limit", "test_limit"]
NUMBER = ["ood", "detector", "metric", "value", "low", "high"]
OVER_SEEDS = ["seeds", "mean", "deviation", "mean_low", "mean_high"]
FIELDS = [*RUN, *NUMBER, *OVER_SEEDS]


def long_format(runs: Iterable[Result]) -> pd.DataFrame:
    """Return a table with the columns FIELDS, a row a number of one run.

    Near and far means stand under the OOD sets "near mean" and "far mean", over the sets that the run's table names.
    low, high: its 95 % interval over images. The same in every row of a configuration: mean, sample deviation and the
    95 % interval of the mean over its seeds (mean_low, mean_high; `oodbench.evaluation.significance.over_seeds`).
    """
    runs = _with_means(list(runs))
    over: dict[Any, dict[int, float]] = defaultdict(dict)  # by seed
    for run in runs:
        for key, value in run.numbers.items():
            over[_group(run, key)][run.seed] = value
    spreads = {group: _spread(group[-1], values) for group, values in over.items()}
    rows = []
    for run in runs:
        of_run = [getattr(run, field) for field in RUN]
        for key, value in run.numbers.items():
            interval = run.intervals.get(key, (None, None))
            rows.append([*of_run, *key, value, *interval, *spreads[_group(run, key)]])
    frame = pd.DataFrame(rows, columns=FIELDS)
    return frame.astype({"epochs": "Int64", "train_limit": "Int64", "test_limit": "Int64"})


def _with_means(runs: Sequence[Result]) -> list[Result]:
    """-> the runs with the means that their tables have"""
    tables: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs:
        tables[run.dataset, protocol(run)].append(run)
    means = {table: common_means(members) for table, members in tables.items()}
    return [run for each in runs for run in with_means([each], means[each.dataset, protocol(each)])]


def _group(run: Result, key: Key) -> tuple[Any, ...]:
    """-> the key that the seeds of one mean share; OOD sets of one name may differ in size"""
    return row_of(run), run.ood_images.get(key[0]), *key


def _spread(metric: str, values: dict[int, float]) -> list[Any]:
    """-> the values of OVER_SEEDS"""
    spread: Spread = over_seeds(np.array(list(values.values())), metric_of(metric).unit.largest)
    return [spread.n, spread.mean, spread.deviation, *(spread.interval or (None, None))]
