"""The metrics: pure functions of arrays, each described by one record (`oodbench.evaluation.metric`).

METRICS, ADDRESSES   {name: record} and {name: address of the record} of all
ID_METRICS           {name: record} of the ID test images, at the top level of metrics.json
CALIBRATION_METRICS  {name: record} of three versions of the probabilities, see `oodbench.evaluation.calibration`
OOD_METRICS          {name: record} of a detector's scores of the ID test images and of an OOD set

The records are found at the top level of this package's modules, so that a new one needs no line elsewhere. Their
functions are attributes of this package.
"""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from oodbench.evaluation.arrays import Array, Labels, checked, checked_log_probs
from oodbench.evaluation.metric import IDMetric, Metric, OODMetric
from oodbench.evaluation.metrics.classification import ECE_BINS, ece

FIRST = ("classification", "detection")  # their metrics stand before those of other files


def records(package: str, path: Iterable[str]) -> dict[str, tuple[str, Metric]]:
    """Return {name: (variable, record)} of the package's modules.

    Raises ImportError where two records have one name or one variable, or a name is no identifier, such as files and
    commands need.
    """
    modules = [info.name for info in iter_modules(path)]
    found: dict[str, tuple[str, Metric]] = {}
    for module in sorted(modules, key=lambda name: (name not in FIRST, name)):
        for variable, record in vars(import_module(f"{package}.{module}")).items():
            if not isinstance(record, Metric) or found.get(record.name, ("", None))[1] is record:
                continue
            if record.name in found or not record.name.isidentifier():
                raise ImportError(f"{package}.{module}: the metric's name {record.name!r} is taken or no identifier")
            if variable in (known for known, _ in found.values()):
                raise ImportError(f"{package}.{module}: another file has a metric called {variable}, too")
            found[record.name] = variable, record
    return found


_FOUND = records(__name__, __path__)
METRICS = {name: metric for name, (_, metric) in _FOUND.items()}
ADDRESSES = {name: f"{__name__}.{variable}" for name, (variable, _) in _FOUND.items()}
globals().update((metric.function.__name__, metric.function) for metric in METRICS.values())
_OF_ID = {name: metric for name, metric in METRICS.items() if isinstance(metric, IDMetric)}
ID_METRICS = {name: metric for name, metric in _OF_ID.items() if metric.top_level}
CALIBRATION_METRICS = {name: metric for name, metric in _OF_ID.items() if metric.calibration}
OOD_METRICS = {name: metric for name, metric in METRICS.items() if isinstance(metric, OODMetric)}


def metric_of(name: str) -> Metric:
    """Return the record of this name."""
    return METRICS[name]


if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
