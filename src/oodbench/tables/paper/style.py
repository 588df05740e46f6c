"""The choices for a paper's table, their check, and the columns that they lead to."""

import sys
import warnings
from collections.abc import Sequence
from typing import NamedTuple

from oodbench.evaluation.metric import Metric
from oodbench.evaluation.metrics import OOD_METRICS, metric_of
from oodbench.tables.columns import Column, id_columns, means_alone, ood_metrics, ood_sets
from oodbench.tables.means import FAR, NEAR, SHORT
from oodbench.tables.results import Result

MOST = 11  # columns of numbers that fit a page
MOST_WITH_DEVIATION = 7


class Style(NamedTuple):
    """The contents of a paper's table; an empty list stands for the default."""

    losses: Sequence[str] = ()
    sets: Sequence[str] = ()  # OOD sets; near and far are the means
    metrics: Sequence[str] = ()  # accuracy, ece, auroc, fpr95
    columns: Sequence[str] = ()  # in this order, in the place of sets and metrics: accuracy, ece, svhn:auroc
    digits: int = 2
    intervals: bool = False


def check_style(runs: Sequence[Result], style: Style) -> None:
    """Raise ValueError for a loss, set, metric or column that no run has."""
    of_id = [column.metric for column in id_columns()]
    of_ood = {short_name(metric) for metric in OOD_METRICS.values() if metric.in_tables}
    known = {
        "loss": {run.loss for run in runs},
        "set": {ood for run in runs for ood in run.ood_images} | SHORT.keys(),
        "metric": {*of_id, *of_ood},
    }
    known["column"] = {*of_id, *(f"{ood}:{metric}" for ood in known["set"] for metric in of_ood)}
    asked = {"loss": style.losses, "set": style.sets, "metric": style.metrics, "column": style.columns}
    for what, given in asked.items():
        if unknown := sorted(set(given) - known[what]):
            raise ValueError(f"no run has the {what} {', '.join(unknown)}; available: {', '.join(sorted(known[what]))}")


def columns_of(runs: Sequence[Result], fpr: str, style: Style) -> list[Column]:
    """Return the style's columns. Where it names neither these nor sets, and all would be too many, means replace sets.

    Warns of a column that this table lacks, another may have it. Raises ValueError where nothing is left.
    """
    several = len({run.seed for run in runs}) > 1
    most = sys.maxsize if style.columns else MOST_WITH_DEVIATION if several else MOST
    metrics = [metric for metric in ood_metrics(fpr) if not style.metrics or short_name(metric) in style.metrics]
    of_id = [column for column in id_columns() if not style.metrics or column.metric in style.metrics]
    sets = sorted(ood_sets(runs), key=lambda each: (each[0].rank, each[1] in (NEAR, FAR), each[1]))
    if style.sets:
        wanted = [SHORT.get(name, name) for name in style.sets]
        sets = [each for each in sets if each[1] in wanted]
    elif len(of_id) + len(sets) * len(metrics) > most:
        sets = means_alone(sets)
    columns = of_id + [Column(*each, metric.name) for each in sets for metric in metrics]
    if style.columns:
        known = {_column_name(column) for column in columns}
        if missing := [name for name in style.columns if name not in known]:
            warnings.warn(
                f"a table of {runs[0].dataset}, {runs[0].backbone}, {runs[0].recipe} has no column "
                f"{', '.join(missing)}; available: {', '.join(sorted(known))}",
                stacklevel=2,
            )
        columns = [column for name in style.columns for column in columns if _column_name(column) == name]
    if not columns:
        raise ValueError("nothing is left to show: no run has these sets, metrics or columns")
    return columns


def _column_name(column: Column) -> str:
    short = {mean: name for name, mean in SHORT.items()}
    metric = short_name(metric_of(column.metric))
    return f"{short.get(column.ood, column.ood)}:{metric}" if column.ood else metric


def short_name(metric: Metric) -> str:
    """Return the name of a metric in options and in commands: fpr95 under either convention."""
    return "fpr95" if metric.convention else metric.name
