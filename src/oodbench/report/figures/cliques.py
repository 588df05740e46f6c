"""Rows ranked by a number, with the groups that our paired tests cannot tell apart."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from oodbench.evaluation.arrays import Array
from oodbench.evaluation.intervals import Interval
from oodbench.evaluation.metric import SHARE
from oodbench.evaluation.significance import compare, holm
from oodbench.report.plot import Axis, Dots, Line, Mark, Panel, Plot, padded, percent_axis


class Ranked(NamedTuple):
    """Rows by falling mean, and the cliques: (first, last) ranks of the largest groups without a significant pair."""

    labels: list[str]
    means: list[float]
    intervals: list[Interval | None]
    cliques: list[tuple[int, int]]


def ranked(
    values: Mapping[str, Array],
    resampled: Mapping[str, Array],
    intervals: Mapping[str, Interval | None],
    means: Mapping[str, float],
) -> Ranked:
    """{row: (S,)}, {row: (S, R)} on the same seeds and images -> ranks and cliques; a larger number is better.

    All pairs of rows are compared (`oodbench.evaluation.significance.compare`), p-values corrected by Holm over all of
    them; a pair differs at 5 %, if the seeds that all rows share order it as its means do. means, intervals: what is
    drawn, over all seeds of a row.
    """
    labels = sorted(values, key=lambda label: -means[label])
    pairs = list(combinations(range(len(labels)), 2))
    tests = [compare(*(of[labels[i]] for of in (values, resampled) for i in pair)) for pair in pairs]
    adjusted: Sequence[float] | Array = holm(np.array([test.p_value for test in tests])) if tests else []
    found = zip(pairs, tests, adjusted, strict=True)
    differ = {pair for pair, test, p in found if p <= 0.05 and test.difference > 0}
    return Ranked(labels, [means[x] for x in labels], [intervals[x] for x in labels], cliques_of(len(labels), differ))


def cliques_of(n: int, differ: set[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the largest runs of neighbouring ranks, two at least, of which no pair differs."""
    found: list[tuple[int, int]] = []
    for first in range(n):
        last = first
        while last + 1 < n and not any((i, last + 1) in differ for i in range(first, last + 1)):
            last += 1
        if last > first and not any(a <= first and last <= b for a, b in found):
            found.append((first, last))
    return found


def panel(found: Ranked, title: str, subtitle: str) -> Panel:
    """Draw one line per row: its mean with the 95 % interval; bars at the right join what is not distinguishable."""
    n = len(found.labels)
    ends = [end for interval in found.intervals if interval for end in interval]
    low, high = padded([*found.means, *ends], 0.08)
    wide = (high - low) * (1 + 0.06 * max(1, len(found.cliques)))
    marks: list[Mark] = []
    for i, (mean, interval) in enumerate(zip(found.means, found.intervals, strict=True)):
        y = n - 1 - i
        marks += [Line(list(interval), [y, y], "ink", width=1.5)] if interval else []
        text = f"{found.labels[i]}: {SHARE.text(mean)}" + (f" {SHARE.ends(interval)}" if interval else "")
        marks.append(Dots([mean], [y], "ink", 3.2, titles=[text]))
    for j, (first, last) in enumerate(found.cliques):
        at = high + (high - low) * 0.06 * (j + 0.6)
        marks.append(Line([at, at], [n - 1 - first + 0.22, n - 1 - last - 0.22], "c1", width=3.0))
    y_axis = Axis("", -0.6, n - 0.4, [(n - 1 - i, label) for i, label in enumerate(found.labels)])
    x_axis = percent_axis("AUROC (%)", low, high)._replace(high=low + wide)
    return Panel(title, x_axis, y_axis, marks, subtitle, 400, 70 + 19 * n, 10)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put panels of near and far OOD side by side."""
    caption = (
        "Mean AUROC of the loss's own score with its 95 % interval: of several seeds over trainings, of one seed over "
        "its test images alone. Bars join rows of which no pair is distinguishable at 5 % (paired tests on the same "
        "seeds and resampled images, Holm's correction over all pairs)."
    )
    return Plot("cliques", "What can be told apart", panels, caption)
