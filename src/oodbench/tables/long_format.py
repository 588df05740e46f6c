"""Runs -> one long table, a row a number: runs.csv."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from oodbench.evaluation.metrics import metric_of
from oodbench.evaluation.significance import Spread, over_seeds
from oodbench.tables.fields import Key
from oodbench.tables.labels import Row, protocol, row_of
from oodbench.tables.means import common_means, with_means
from oodbench.tables.results import Result

RUN = ["dataset", "backbone", "loss", "recipe", "hash", "seed", "epochs", "train_limit", "test_limit"]
NUMBER = ["ood", "detector", "metric", "value", "low", "high"]
OVER_SEEDS = ["seeds", "mean", "deviation", "mean_low", "mean_high"]
FIELDS = [*RUN, *NUMBER, *OVER_SEEDS]


def to_csv(runs: Iterable[Result]) -> str:
    """Return `long_format` as CSV, an empty cell for None."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(chain([FIELDS], long_format(runs)))
    return text.getvalue()


def long_format(runs: Iterable[Result]) -> Iterator[list[Any]]:
    """Yield the values of FIELDS, a row a number of one run; None where there is none.

    Near and far means stand under the OOD sets "near mean" and "far mean", over the sets that the run's table names.
    low, high: its 95 % interval over images. The same in every row of a configuration: mean, sample deviation and the
    95 % interval of the mean over its seeds (mean_low, mean_high; `oodbench.evaluation.significance.over_seeds`).
    """
    runs = _with_means(list(runs))
    of_rows = [row_of(run) for run in runs]
    over: dict[Any, dict[int, float]] = defaultdict(dict)  # by seed
    for run, row in zip(runs, of_rows, strict=True):
        for key, value in run.numbers.items():
            over[_group(run, row, key)][run.seed] = value
    spreads = {group: _spread(group[-1], values) for group, values in over.items()}
    for run, row in zip(runs, of_rows, strict=True):
        of_run = [getattr(run, field) for field in RUN]
        for key, value in run.numbers.items():
            interval = run.interval(key) or (None, None)
            yield [*of_run, *key, value, *interval, *spreads[_group(run, row, key)]]


def _with_means(runs: Sequence[Result]) -> list[Result]:
    """-> the runs with the means that their tables have"""
    tables: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for run in runs:
        tables[run.dataset, protocol(run)].append(run)
    measured = (run for members in tables.values() for run in with_means(members, common_means(members)))
    by_folder = {run.folder: run for run in measured}
    return [by_folder[run.folder] for run in runs]


def _group(run: Result, row: Row, key: Key) -> tuple[Any, ...]:
    """-> the key that the seeds of one mean share; OOD sets of one name may differ in size"""
    return row, run.ood_images.get(key[0]), *key


def _spread(metric: str, values: dict[int, float]) -> list[Any]:
    """-> the values of OVER_SEEDS"""
    spread: Spread = over_seeds(np.array(list(values.values())), metric_of(metric).unit.largest)
    return [spread.n, spread.mean, spread.deviation, *(spread.interval or (None, None))]
