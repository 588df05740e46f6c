"""Two runs, or two scores of one, number by number: the differences, and which of them are more than chance.

A side is a run's folder, or the folder above its seeds. Seeds are paired, images are resampled alike in both.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array
from oodbench.evaluation.metric import arrays_key
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, metric_of
from oodbench.evaluation.significance import Comparison, compare, holm
from oodbench.runs.paths import finished_seeds, is_finished
from oodbench.tables.caveats import AGAIN
from oodbench.tables.fields import Key
from oodbench.tables.kinds import Kind
from oodbench.tables.load import load_run, needs_resamples, scored_alike
from oodbench.tables.means import shared_means, with_means
from oodbench.tables.results import Result

Pair = tuple[Result, Result]
Keys = tuple[Key, Key]  # of A's number and of B's


class Line(NamedTuple):
    """A minus B in one metric. A side may lack the metric; what no table shows, or has no resamples, is not tested."""

    ood: str  # "" for a metric of no OOD set
    metric: str
    images: str
    difference: float | None
    test: Comparison | None
    adjusted: float  # Holm's p over all tests
    has_direction: bool  # not on shifted ID, where neither end is better

    @property
    def better(self) -> str:
        """Return "A", "B", or "" where they are not distinguishable at 5 %, not tested, or no end is better."""
        if not self.has_direction or not self.test or self.adjusted > 0.05 or not self.test.is_consistent:
            return ""
        return "A" if (self.test.difference > 0) == metric_of(self.metric).higher_is_better else "B"


def load_side(folder: Path) -> dict[int, Result]:
    """Return {seed: run} of a run's folder, or of the finished ones in a folder of several seeds.

    Raises FileNotFoundError where there is none, ValueError where seeds were scored with a detector set differently.
    """
    folder = folder.absolute()
    runs = [load_run(each) for each in ([folder] if is_finished(folder) else finished_seeds(folder))]
    if not runs:
        raise FileNotFoundError(f"{folder} has no metrics.json, nor has a folder seed* in it: no finished run")
    _, unlike = scored_alike(runs)
    if unlike:
        raise ValueError(unlike[0].reason)
    return {run.seed: run for run in runs}


def pairs_of(a: Mapping[int, Result], b: Mapping[int, Result]) -> list[Pair]:
    """Pair runs seed by seed; two single runs are a pair even if their seeds differ.

    Raises ValueError for other images, and where no seed is shared.
    """
    seeds = sorted(a.keys() & b.keys())
    pairs = [(a[seed], b[seed]) for seed in seeds]
    if not pairs:
        if len(a) > 1 or len(b) > 1:
            raise ValueError(f"A has the seeds {sorted(a)}, B {sorted(b)}: none in common to pair")
        pairs = [(next(iter(a.values())), next(iter(b.values())))]
    for first, second in pairs:
        _check_images(first, second)
        _check_images(pairs[0][0], first)
    return pairs


def _check_images(a: Result, b: Result) -> None:
    if a.dataset != b.dataset:
        raise ValueError(f"{a.folder} is of {a.dataset}, {b.folder} of {b.dataset}: numbers of other images")
    sets = {"test": (a.test_images, b.test_images)}
    sets |= {ood: (a.ood_images[ood], b.ood_images[ood]) for ood in sorted(a.ood_images.keys() & b.ood_images.keys())}
    for name, (n, m) in sets.items():
        digests = a.digests.get(name), b.digests.get(name)
        if n != m or (all(digests) and digests[0] != digests[1]):
            hashes = " and ".join(str(digest)[:8] for digest in digests)
            raise ValueError(
                f"the {name} images differ, {n:,} and {m:,} images with digests {hashes}, so that nothing is paired: "
                f"{a.folder} and {b.folder}"
            )


def compare_runs(pairs: list[Pair], detector: str, detector_b: str) -> list[Line]:
    """Compare every metric of the OOD sets that both have, and of their means, A scored by `detector` and B by
    `detector_b`; and, of two runs, the metrics that depend on no score.

    Raises ValueError for a detector without numbers and for missing resamples.
    """
    means = shared_means([run for pair in pairs for run in pair])
    pairs = [(first, second) for first, second in (with_means(pair, means) for pair in pairs)]
    a = pairs[0][0]
    same = all(first.folder == second.folder for first, second in pairs)
    if same and detector == detector_b:
        raise ValueError("A and B are the same run scored by the same detector; name another with --detector-b")
    for side, name in enumerate((detector, detector_b)):
        for pair in pairs:
            _check_detector(pair[side], name)
    rows: list[tuple[Keys, str]] = []
    if not same:
        rows += [((("", "", m), ("", "", m)), f"{a.test_images:,}") for m in ID_METRICS]
    for ood in sorted(a.ood_images, key=lambda ood: (a.kind(ood).rank, ood not in means, ood)):
        if all(_has(first, ood, detector) and _has(second, ood, detector_b) for first, second in pairs):
            images = f"{a.test_images:,} + {sum(a.ood_images[each] for each in means.get(ood, (ood,))):,}"
            rows += [(((ood, detector, m), (ood, detector_b, m)), images) for m in OOD_METRICS]
    rows = [(keys, images) for keys, images in rows if _has_some(pairs, keys)]
    if not rows:
        raise ValueError(f"A with {detector} and B with {detector_b} have no OOD set in common")
    tests = [_test(pairs, keys) for keys, _ in rows]
    adjusted = iter(holm(np.array([test.p_value for test in tests if test])))
    return [
        Line(
            ood=keys[0][0],
            metric=keys[0][2],
            images=images,
            difference=_difference(pairs, keys),
            test=test,
            adjusted=float(next(adjusted)) if test else 1.0,
            has_direction=a.kind(keys[0][0]) is not Kind.SHIFTED,
        )
        for (keys, images), test in zip(rows, tests, strict=True)
    ]


def _has(run: Result, ood: str, detector: str) -> bool:
    """Tell whether some metric was computed."""
    return any((ood, detector, metric) in run.numbers for metric in OOD_METRICS)


def _has_some(pairs: list[Pair], keys: Keys) -> bool:
    """Tell whether some run has the metric."""
    return any(key in run.numbers for pair in pairs for run, key in zip(pair, keys, strict=True))


def _check_detector(run: Result, detector: str) -> None:
    if detector in run.not_applicable:
        raise ValueError(f"{run.folder}: {detector} {run.not_applicable[detector]}")
    if run.detectors and detector not in run.detectors:  # without an OOD set a run has none, and other numbers
        raise ValueError(f"{run.folder} has no detector {detector}; it has {', '.join(sorted(run.detectors))}")


def _values(pairs: list[Pair], keys: Keys) -> Array | None:
    """-> (S, 2), or None where a run lacks the metric"""
    if all(key in run.numbers for pair in pairs for run, key in zip(pair, keys, strict=True)):
        return np.array([[run.numbers[key] for run, key in zip(pair, keys, strict=True)] for pair in pairs])
    return None


def _difference(pairs: list[Pair], keys: Keys) -> float | None:
    values = _values(pairs, keys)
    return None if values is None else float(np.mean(values[:, 0] - values[:, 1]))


def _test(pairs: list[Pair], keys: Keys) -> Comparison | None:
    """Test a difference; None where a run lacks the metric or its resamples, and for metrics that no table shows.

    Published runs lack resamples of the latter, and Holm's correction has to be over the same tests in these, too.
    Intervals of shares are cut to [-1, 1].
    """
    (_, detector, name), values = keys[0], _values(pairs, keys)
    metric = metric_of(name)
    if values is None or metric.resampled is None or not needs_resamples(None, detector, name):
        return None
    resampled = [[_resampled(run, key) for run, key in zip(pair, keys, strict=True)] for pair in pairs]
    if any(each is None for pair in resampled for each in pair):
        return None
    if len(sizes := {len(each) for pair in resampled for each in pair if each is not None}) > 1:
        raise ValueError(f"the runs have {' and '.join(map(str, sorted(sizes)))} resamples; {AGAIN}")
    both = np.array(resampled)  # (S, 2, R)
    test = compare(values[:, 0], values[:, 1], both[:, 0], both[:, 1])
    low, high = test.interval
    return test._replace(interval=(max(low, -metric.unit.largest), min(high, metric.unit.largest)))


def _resampled(run: Result, key: Key) -> Array | None:
    """-> (R,), corrected; None for a metric that is newer than the run's resamples. Raises ValueError for a run without
    any.
    """
    if not run.resampled:
        raise ValueError(
            f"{run.folder} has no resamples of {arrays_key(*key)}; score it again with `scripts/evaluate.py`"
        )
    found = run.resampled.get(arrays_key(*key))
    return None if found is None else metric_of(key[2]).corrected(run.numbers[key], np.asarray(found))
