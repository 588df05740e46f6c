"""A metric as one record: evaluation, bootstrap, calibration, tables and comparison read it and nothing else.

To add a metric, write its function and a record at the top level of a module in oodbench/evaluation/metrics/, a new
file or one that is there. Runs that were scored before show a dash for it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array, Labels
from oodbench.evaluation.intervals import Interval, percentile_interval
from oodbench.evaluation.weighted import Counted, Counts

MISSING = "—"  # stands where a run has no number


class Unit(NamedTuple):
    """The printed form of a number, and its range, 0 to `largest`."""

    name: str
    factor: float  # printed = factor * value
    decimals: int
    largest: float

    def text(self, value: float, decimals: int | None = None) -> str:
        return f"{self.factor * value:.{self.decimals if decimals is None else decimals}f}"

    def ends(self, interval: Interval) -> str:
        """[low, high], of percentages with one decimal"""
        decimals = 1 if self.factor == 100 else self.decimals
        return f"[{self.text(interval[0], decimals)}, {self.text(interval[1], decimals)}]"


SHARE = Unit("%", 100, 2, 1)  # in [0, 1]; percent where it is printed
PERMILLE = Unit("‰", 1000, 2, 1)  # of small shares, as their authors print them
NATS = Unit("nats", 1, 3, math.inf)
SQUARED_ERROR = Unit("", 1, 3, math.inf)


class Means(NamedTuple):
    """A metric of N images as a function of means over them, which is what is needed to resample it."""

    of_images: Callable[[Array, Labels], Array]  # (N, K), (N,) -> (r, N)
    of_means: Callable[[Array], Array]  # (r, R) -> (R,)


Counting = Callable[[Array, Labels, Counts], Array]  # (N, K), (N,), (N, R) how often each image counts -> (R,)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """The record of a metric. `resampled` None: it has no interval and takes part in no test."""

    name: str  # its key in metrics.json and runs.csv
    function: Callable[..., float]
    resampled: Any  # its form for resampled images
    higher_is_better: bool
    unit: Unit
    heading: str  # of its column, without the arrow
    definition: str  # for captions
    source: str
    biased_upwards: bool = False  # noise raises it, so that resampled values are above those of other samples
    in_tables: bool = True  # a column of the main tables; runs.csv has every metric
    convention: str = ""  # "idpos" or "oodpos" where the tables show one of the two

    def __call__(self, first: NDArray[Any], second: NDArray[Any]) -> float:
        return self.function(first, second)

    def corrected(self, value: float, resampled: Array) -> Array:
        """(R,) -> (R,) values whose percentiles are an interval; less another run's, an interval of the difference.

        Where noise raises the metric they are reflected at the value, 2 value - resampled, which is the basic bootstrap
        (Davison & Hinkley, 1997, sec. 5.2). ECE is a sum of absolute values, so resampled values are too high where a
        model is nearly calibrated. Simulated coverage, 10,000 images, true ECE .01, .02, .03, .08: with confidences
        near 1, as networks have them, percentiles of the resampled values 49, 85, 90, 96 %, of the reflected ones 93,
        92, 93, 94 %; with confidences uniform on [.6, .98] 89, 95, 94, 94 % and 82, 85, 92, 95 %. At a true ECE of 0,
        the edge of what is possible, no bootstrap is right, and the upper end of the reflected ones can be below the
        value.
        """
        return 2 * value - resampled if self.biased_upwards else resampled

    def interval(self, value: float, resampled: Array) -> Interval:
        """(R,) -> 95 %, within the numbers that the metric can have"""
        low, high = np.clip(percentile_interval(self.corrected(value, resampled)), 0, self.unit.largest)
        return float(low), float(high)

    @property
    def title(self) -> str:
        """The heading with an arrow that points to better."""
        return f"{self.heading} {'↑' if self.higher_is_better else '↓'}"


@dataclass(frozen=True, kw_only=True)
class IDMetric(Metric):
    """A number of the ID test images: function((N, K) log-probabilities, (N,) labels)."""

    resampled: Means | Counting | None
    calibration: bool = False  # also given of the normalised and the temperature-scaled probabilities
    top_level: bool = True  # False: a calibration metric that is given in that block of metrics.json alone
    proper_score: bool = False  # of probabilities that sum to one: of others it means nothing


@dataclass(frozen=True, kw_only=True)
class OODMetric(Metric):
    """A number of one detector on one OOD set: function((N,) ID scores, (M,) OOD scores), higher = more likely OOD."""

    resampled: Callable[[Counted], Array] | None  # R resamples -> (R,)
    of_probabilities: bool = False  # given of detectors alone that are marked as `negated_probability`


def key_of(name: str) -> tuple[str, str, str]:
    """Return the OOD set, the detector and the metric of a name in a run's resamples; "" and "" for the test images."""
    ood, detector, metric = ["", "", *name.split("/")][-3:]
    return ood, detector, metric


def arrays_key(ood: str, detector: str, metric: str) -> str:
    """Return the name of a number's resamples in their file: "accuracy" or "svhn/msp/auroc"."""
    return "/".join(filter(None, (ood, detector, metric)))
