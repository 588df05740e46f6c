"""Columns of tables: a metric on an OOD set, or on the test images; their order and their headings."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from oodbench.evaluation.metric import Metric
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.tables.kinds import Kind
from oodbench.tables.means import FAR, NEAR
from oodbench.tables.results import Result


class Column(NamedTuple):
    """A metric on an OOD set; `ood` is "" and `kind` None for a metric that depends on none."""

    kind: Kind | None
    ood: str
    images: int
    metric: str

    @property
    def has_direction(self) -> bool:
        """Tell whether one end is better; telling shifted images of known classes from the test images is not."""
        return self.kind is not Kind.SHIFTED


def id_columns() -> list[Column]:
    """Return a column for each metric of the test images that tables show."""
    return [Column(None, "", 0, name) for name, metric in ID_METRICS.items() if metric.in_tables]


def header(columns: Iterable[Column], name: Callable[[str], str] = str) -> list[tuple[str, str]]:
    """Return group and name of each column; a set that stands there in two sizes has its number of images in its name.

    name: the key of a set -> its name.
    """
    columns = list(columns)
    sizes = Counter(ood for ood, _ in {(column.ood, column.images) for column in columns})
    several = [f", {column.images:,} images" * (sizes[column.ood] > 1) for column in columns]
    return [(group(c, name) + images, metric_of(c.metric).title) for c, images in zip(columns, several, strict=True)]


DEFAULT_FPR = "idpos"  # the convention whose tables have no suffix in the names of their files and labels


def ood_metrics(fpr: str) -> list[Metric]:
    """Return the metrics that the tables show, with FPR@95 of the convention `fpr`."""
    return [metric for metric in OOD_METRICS.values() if metric.in_tables and metric.convention in ("", fpr)]


def ood_sets(runs: Iterable[Result]) -> list[tuple[Kind, str, int]]:
    """-> (kind, name, images), near first, in each kind the mean first"""
    sets = {(run.kind(ood), ood, n) for run in runs for ood, n in run.ood_images.items()}
    return sorted(sets, key=lambda each: (each[0].rank, each[1] not in (NEAR, FAR), *each[1:]))


def means_alone(sets: Sequence[tuple[Kind, str, int]]) -> list[tuple[Kind, str, int]]:
    """Return of a kind that has a mean the mean, of the others all sets."""
    with_mean = {kind for kind, ood, _ in sets if ood in (NEAR, FAR)}
    return [each for each in sets if each[1] in (NEAR, FAR) or each[0] not in with_mean]


def group(column: Column, name: Callable[[str], str] = str) -> str:
    """Return the heading that the columns of one OOD set share."""
    if not column.kind:
        return ""
    return named(column.kind, column.ood if column.ood in (NEAR, FAR) else name(column.ood))


def named(kind: Kind, ood: str, images: str = "") -> str:
    """Return the name of an OOD set with its kind, and how many images it has; of a mean its name."""
    return ood if ood in (NEAR, FAR) else f"{ood} ({kind}{images})"
