"""Two runs, or two scores of one, number by number: the differences, and which of them are more than chance.

A side is a run's folder, or the folder above its seeds. Seeds are paired, images are resampled alike in both.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.evaluation.significance import Comparison, compare, holm
from oodbench.storage import Arrays
from oodbench.tables.cells import LARGER_IS_BETTER
from oodbench.tables.notes import AGAIN
from oodbench.tables.results import OF_A_RUN, Key, Result, load_run, resamples

NOT_SHARES = ("nll", "brier")  # of all others the difference is shown in percentage points
Pair = tuple[Result, Result]


class Line(NamedTuple):
    """A minus B in one metric; `adjusted` is Holm's p over all lines."""

    ood: str  # "" for a metric of no OOD set
    metric: str
    images: str
    test: Comparison
    adjusted: float

    @property
    def better(self) -> str:
        """ "A", "B", or "" where they are not distinguishable at 5 %"""
        if self.adjusted > 0.05 or self.test.difference == 0:
            return ""
        return "A" if (self.test.difference > 0) == LARGER_IS_BETTER[self.metric] else "B"


def load_side(folder: Path) -> dict[int, Result]:
    """{seed: run} of a run's folder, or of the finished ones in a folder of several seeds."""
    folder = folder.absolute()
    folders = [folder] if (folder / "metrics.json").exists() else sorted(folder.glob("seed*"))
    runs = [load_run(each) for each in folders if (each / "metrics.json").exists()]
    if not runs:
        raise FileNotFoundError(f"{folder} has no metrics.json, nor has a folder seed* in it: no finished run")
    return {run.seed: run for run in runs}


def pairs_of(a: Mapping[int, Result], b: Mapping[int, Result]) -> list[Pair]:
    """Seed by seed; two single runs whatever their seeds. ValueError for other images, and where no seed is shared."""
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


def lines(pairs: list[Pair], detector: str, detector_b: str) -> list[Line]:
    """Every metric of the OOD sets that both have, A read with `detector` and B with `detector_b`; and, of two runs,
    the metrics that depend on no score. ValueError for a detector without numbers and for missing resamples.
    """
    a = pairs[0][0]
    same = all(first.folder == second.folder for first, second in pairs)
    if same and detector == detector_b:
        raise ValueError("A and B are the same run read with the same detector; name another with --detector-b")
    for side, name in enumerate((detector, detector_b)):
        for pair in pairs:
            _check_detector(pair[side], name)
    rows: list[tuple[Key, Key, str]] = []
    if not same:
        rows += [(("", "", m), ("", "", m), f"{a.test_images:,}") for m in OF_A_RUN]
    for ood in sorted(a.ood_images, key=lambda ood: (ood not in a.near, ood)):
        if not all(_has(first, ood, detector) and _has(second, ood, detector_b) for first, second in pairs):
            continue
        images = f"{a.test_images:,} + {a.ood_images[ood]:,}"
        rows += [((ood, detector, m), (ood, detector_b, m), images) for m in OOD_METRICS]
    if not rows:
        raise ValueError(f"A with {detector} and B with {detector_b} have no OOD set in common")
    loaded = [(resamples(first.folder), resamples(second.folder)) for first, second in pairs]
    tests = [_test(pairs, loaded, key_a, key_b) for key_a, key_b, _ in rows]
    adjusted = holm(np.array([test.p_value for test in tests]))
    return [
        Line(key[0], key[2], images, test, float(p))
        for (key, _, images), test, p in zip(rows, tests, adjusted, strict=True)
    ]


def _has(run: Result, ood: str, detector: str) -> bool:
    return all((ood, detector, metric) in run.numbers for metric in OOD_METRICS)


def _check_detector(run: Result, detector: str) -> None:
    if detector in run.not_applicable:
        raise ValueError(f"{run.folder}: {detector} {run.not_applicable[detector]}")
    if detector not in run.detectors:
        raise ValueError(f"{run.folder} has no detector {detector}; it has {', '.join(sorted(run.detectors))}")


def _test(pairs: list[Pair], loaded: list[tuple[Arrays, Arrays]], key_a: Key, key_b: Key) -> Comparison:
    values = np.array([[first.numbers[key_a], second.numbers[key_b]] for first, second in pairs])
    resampled = [
        [_resampled(run, arrays, key) for run, arrays, key in zip(pair, both, (key_a, key_b), strict=True)]
        for pair, both in zip(pairs, loaded, strict=True)
    ]
    if len(sizes := {len(each) for pair in resampled for each in pair}) > 1:
        raise ValueError(f"the runs have {' and '.join(map(str, sorted(sizes)))} resamples; {AGAIN}")
    both = np.array(resampled)  # (S, 2, R)
    return compare(values[:, 0], values[:, 1], both[:, 0], both[:, 1], normal_tail=True)


def _resampled(run: Result, arrays: Arrays, key: Key) -> np.ndarray:
    name = "/".join(filter(None, key))
    if name not in arrays:
        raise ValueError(f"{run.folder} has no resamples of {name}; {AGAIN.replace('them', 'it')}")
    return arrays[name]


def report(pairs: list[Pair], detector: str, detector_b: str, found: list[Line], alone: Collection[int]) -> str:
    """For the terminal: a line a metric, then who is better in how many, and what that means.

    alone: seeds that one side has and the other has not.
    """
    head = f"{'OOD set':<{_wide(found)}}  {'metric':<12}{'A - B':>8}  {'95 % interval':<19}{'p':>9}{'Holm p':>9}"
    rows = [head + "  better  images"]
    for line in found:
        scale, decimals = (1, 4) if line.metric in NOT_SHARES else (100, 2)
        low, high = (f"{scale * end:+.{decimals}f}" for end in line.test.interval)
        rows.append(
            f"{line.ood or '-':<{_wide(found)}}  {line.metric:<12}{scale * line.test.difference:>+8.{decimals}f}  "
            f"{f'[{low}, {high}]':<19}{_p(line.test.p_value):>9}{_p(line.adjusted):>9}  {line.better or '-':<6}  "
            f"{line.images}"
        )
    n = len(pairs)
    seeds = ", ".join(_seed(*pair) for pair in pairs)
    if n > 1 or pairs[0][0].seed == pairs[0][1].seed:
        seeds += f"; of one side alone, left out: {', '.join(map(str, sorted(alone)))}" if alone else ""
    left = sorted({ood for pair in pairs for run in pair for ood in run.ood_images} - {line.ood for line in found})
    sets = [f"OOD sets without numbers on both sides, left out: {', '.join(left)}"] if left else []
    sides = [
        f"{name}: {_name(run, n)}, {d}" for name, run, d in zip("AB", pairs[0], (detector, detector_b), strict=True)
    ]
    ahead = [sum(line.better == side for line in found) for side in "AB"]
    verdict = (
        f"Of {len(found)} numbers A is better in {ahead[0]}, B in {ahead[1]}; {len(found) - sum(ahead)} are not "
        "distinguishable (5 %, Holm's correction over all lines)."
    )
    meaning = (
        "n = 1: paired bootstrap over the images; it compares these two networks, not their losses' other trainings."
        if n == 1
        else f"n = {n}: paired over seeds and resampled images; it speaks of other trainings and other images."
    )
    units = (
        "A - B in percentage points, nll in nats, brier in [0, 2]; better: higher accuracy, auroc, aupr; else lower."
    )
    improper = [name for i, name in enumerate("AB") if any("normalised" in pair[i].calibration for pair in pairs)]
    proper = f"Probabilities of {' and '.join(improper)} do not sum to one: nll and brier are no proper scores of them."
    caveat = [proper] if improper and any(line.metric in NOT_SHARES for line in found) else []
    return "\n".join([*sides, f"n = {n}, seeds {seeds}", *sets, "", *rows, "", verdict, meaning, units, *caveat])


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"  # far tails rest on a normal law, not on resamples


def _wide(found: list[Line]) -> int:
    return max(len("OOD set"), *(len(line.ood) for line in found))


def _seed(a: Result, b: Result) -> str:
    return str(a.seed) if a.seed == b.seed else f"{a.seed} against {b.seed}"


def _name(run: Result, n: int) -> str:
    return "/".join((run.folder if n == 1 else run.folder.parent).parts[-5 if n == 1 else -4 :])
