"""Statistics over seeds and images: intervals, spread, paired tests and rows that are not distinguishable.

Two things are random: the test images, which all seeds and losses share, and the training, which a seed stands for.
Resampled values (see `bootstrap`) carry the first, values of several seeds the second. All intervals are 95 %, all
p-values two-sided; shares in [0, 1].
"""

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from scipy import special  # scipy.stats takes seconds to import
from scipy.optimize import brentq

from oodbench.evaluation.arrays import Array
from oodbench.evaluation.intervals import Interval, percentile_interval

Row = TypeVar("Row", bound=Hashable)
LOG_SMALLEST_P = -69.0  # p-values stop at 1e-30, where a t quantile is still far from overflow


class Spread(NamedTuple):
    """Mean over n seeds; deviation and interval are None for one seed."""

    mean: float
    deviation: float | None
    n: int
    interval: Interval | None


class Comparison(NamedTuple):
    """First minus second, over n seeds."""

    difference: float
    interval: Interval
    p_value: float
    n: int

    @property
    def is_consistent(self) -> bool:
        """Tell whether difference and interval lie on one side of 0, which resampled values of one seed may not."""
        low, high = self.interval
        return low > 0 < self.difference or high < 0 > self.difference


def over_seeds(values: Array, largest: float = math.inf) -> Spread:
    """(S,) of numbers from 0 to `largest` -> mean m, sample standard deviation s (ddof 1), interval of the mean.

    g^-1(g(m) -+ t_{.975, S-1} g'(m) s / sqrt(S)) with g(m) = log(m / (largest - m)), or log m where `largest` is
    infinite: the t-interval on a scale without ends, so that it stays in the range, as m -+ t s / sqrt(S) does not
    (AUROC .93 -+ .12 of two seeds). Where the seeds do not vary, at 0 and at `largest`, it is a point.

    Simulated, shares of a beta law with mean .99 and deviation .01, of 2, 3, 5 seeds: m -+ t s / sqrt(S) leaves [0, 1]
    in 92, 87, 55 % and holds the truth in 91, 89, 88 %, this interval in 95, 95, 94 %. With mean .93 and deviation .01
    both hold 95 %. Where one training in ten collapses to .5, three seeds hold the truth in 27 % by either.
    """
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return Spread(mean, None, n, None)
    deviation = float(np.std(values, ddof=1))
    if not deviation or not 0 < mean < largest:
        return Spread(mean, deviation, n, (mean, mean))
    half = float(special.stdtrit(n - 1, 0.975)) * deviation / n**0.5
    if math.isinf(largest):
        low, high = (mean * math.exp(end / mean) for end in (-half, half))
        return Spread(mean, deviation, n, (low, high))
    centre, half = float(special.logit(mean / largest)), half * (1 / mean + 1 / (largest - mean))
    low, high = (largest * float(special.expit(centre + end)) for end in (-half, half))
    return Spread(mean, deviation, n, (low, high))


def compare(a: Array, b: Array, a_resampled: Array, b_resampled: Array) -> Comparison:
    """(S,), (S,), (S, R), (S, R) of two losses or two detectors, seed by seed and image by image the same.

    One seed: `paired_bootstrap`, which compares these two networks, with the p of `beyond_resamples`. More:
    `paired_over_seeds`, which includes the variation between trainings; the images' variance is that of the resampled
    mean over seeds. Raises ValueError for other shapes.
    """
    if not (a.shape == b.shape == a_resampled.shape[:1] and a_resampled.shape == b_resampled.shape and a.ndim == 1):
        shapes = f"{a.shape}, {b.shape} with {a_resampled.shape}, {b_resampled.shape} resampled"
        raise ValueError(f"values have shapes {shapes}; (S,), (S,) with (S, R), (S, R) are needed")
    resampled = (a_resampled - b_resampled).mean(0)
    if len(a) == 1:
        return beyond_resamples(paired_bootstrap(float(a[0] - b[0]), resampled), resampled)
    return paired_over_seeds(a - b, float(np.var(resampled, ddof=1)))


def paired_bootstrap(difference: float, resampled: Array) -> Comparison:
    """A difference of two networks and its (R,) values on resampled images -> percentile interval and its p-value.

    p = 2 min(1 + #{d* <= 0}, 1 + #{d* >= 0}) / (R + 1), at most 1: the level whose interval just reaches 0, with the
    sample counted among its resamples (Davison & Hinkley, 1997, ch. 4 and 5). So no p is below 2 / (R + 1).
    """
    tail = 1 + min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    return Comparison(difference, percentile_interval(resampled), min(1.0, 2 * tail / (len(resampled) + 1)), 1)


def beyond_resamples(test: Comparison, resampled: Array) -> Comparison:
    """A test of `paired_bootstrap` and its (R,) values -> the test with a p that resamples are too few to show.

    Where p is 2 / (R + 1), the smallest that R resamples can show, it becomes that of the normal law, if this is
    smaller: 2 P(Z > |difference| / deviation of the resampled). A larger p stays, so no test changes for which R was
    enough. Holm's correction over m tests needs p of .05 / m, which is below 2 / (R + 1) for R < 40 m.
    """
    if test.p_value > 2 / (len(resampled) + 1) or test.difference * float(np.mean(resampled)) <= 0:
        return test
    deviation = float(np.std(resampled, ddof=1))
    tail = 2 * float(special.ndtr(-abs(test.difference) / deviation)) if deviation else 0.0
    return test._replace(p_value=max(min(test.p_value, tail), float(np.exp(LOG_SMALLEST_P))))


def paired_over_seeds(differences: Array, image_variance: float = 0.0) -> Comparison:
    """(S,) differences, seed by seed -> their mean and its test against 0, S >= 2.

    mean +- sqrt(t_{.975, S-1}^2 s^2 / S + 1.96^2 v), with s the deviation over seeds and v the variance of the mean
    under resampling of the images alone; p is the level whose interval just reaches 0. The seeds share their images, so
    s does not see how the mean would move on others, and v does not see the training. Without v it is the paired
    t-test.
    Half-widths added as squares hold at least 95 % (Banerjee, 1960); Satterthwaite's degrees of freedom, simulated,
    reject equal losses in up to 8 % with three seeds and 13 % with two. Raises ValueError for one seed.
    """
    n = len(differences)
    if n < 2:
        raise ValueError("one seed says nothing of the spread over seeds; paired_bootstrap compares two networks")
    mean, between = float(np.mean(differences)), float(np.var(differences, ddof=1)) / n

    def half(log_p: float) -> float:
        tail = np.exp(log_p) / 2
        return float((special.stdtrit(n - 1, tail) ** 2 * between + special.ndtri(tail) ** 2 * image_variance) ** 0.5)

    def p_value() -> float:
        if mean == 0:
            return 1.0
        if half(LOG_SMALLEST_P) <= abs(mean):
            return float(np.exp(LOG_SMALLEST_P))
        return float(np.exp(brentq(lambda log_p: half(log_p) - abs(mean), LOG_SMALLEST_P, 0.0)))

    width = half(float(np.log(0.05)))
    return Comparison(mean, (mean - width, mean + width), p_value(), n)


def holm(p_values: Array) -> Array:
    """(m,) -> (m,) adjusted: max over j <= i of min(1, (m - j + 1) p_(j)), in the order of p (Holm, 1979).

    Rejecting where adjusted <= 5 % keeps the chance of any false rejection at 5 %, however the tests depend.
    """
    order = np.argsort(p_values)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(order), 0, -1) * p_values[order]))
    return adjusted


def indistinguishable_from_best(
    values: Mapping[Row, Array],
    resampled: Mapping[Row, Array],
    higher_is_better: bool,
) -> list[Row]:
    """{row: (S,)}, {row: (S, R)} -> the best row, and those that do not differ from it at 5 % after Holm's correction.

    The best is selected by these data, so its mean is biased: were all m rows equal, some row would be called worse
    in more than 5 % (simulated: 5 % for m = 2, 8 % for 4, 11 % for 6, 14 % for 10). The mark holds what it
    promises: the truly best row is missing in less than 5 %, since it is left out only if a row that is in fact worse
    is found better (simulated: 2 to 3 %). Rows need the same seeds.
    """
    sign = 1 if higher_is_better else -1
    ranked = sorted(values, key=lambda row: -sign * float(np.mean(values[row])))
    best, others = ranked[0], ranked[1:]
    tests = [compare(values[best], values[row], resampled[best], resampled[row]) for row in others]
    adjusted = holm(np.array([test.p_value for test in tests]))
    worse = [p <= 0.05 and test.is_consistent for test, p in zip(tests, adjusted, strict=True)]
    return [best, *(row for row, is_worse in zip(others, worse, strict=True) if not is_worse)]
