"""Near and far means: the unweighted mean of a number over all near sets of a run, and over all its far sets.

The mean is of the sets' numbers, not of their pooled images (Yang et al., 2022). Near are the sets that the data set's
YAML calls so (conf/dataset, `near`), far are all others but shifted ID, which is in no mean. A mean is treated as one
more OOD set, named NEAR or FAR: its resamples are the means of the sets' resamples, which are of the same ID images.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np

from oodbench.evaluation.arrays import Array
from oodbench.evaluation.metric import MISSING, arrays_key
from oodbench.runs.reduced import Resampled
from oodbench.tables.kinds import Kind
from oodbench.tables.labels import Row, row_of
from oodbench.tables.results import Result

NEAR, FAR = "near mean", "far mean"
KIND = {NEAR: Kind.NEAR, FAR: Kind.FAR}
SHORT = {"near": NEAR, "far": FAR}  # as options of tables.py and results/published.yaml call them
Sets = tuple[str, ...]
Means = Mapping[str, Sets]  # {NEAR or FAR: the sets}, less those that no run has


def sets_of(run: Result, mean: str) -> Sets:
    """Return the sets of a run that a mean is over."""
    return tuple(sorted(ood for ood in run.ood_images if ood not in KIND and run.kind(ood) == KIND[mean]))


def common_means(runs: Sequence[Result]) -> Means:
    """Return the sets that the means of a table are over: of two sets at least, those that most rows have."""
    found = {}
    for mean in (NEAR, FAR):
        of_rows = dict.fromkeys((row_of(run), sets_of(run, mean)) for run in runs)  # of three seeds one is not outvoted
        times = Counter(sets for _, sets in of_rows if len(sets) > 1)
        if times:
            found[mean] = max(times, key=lambda sets: (times[sets], len(sets), sets))
    return found


def shared_means(runs: Sequence[Result]) -> Means:
    """Return the means that all runs have, over the same sets."""
    return {m: sets for m, sets in common_means(runs).items() if all(sets_of(run, m) == sets for run in runs)}


@dataclass(frozen=True, slots=True)
class MeanOf:
    """The mean of several (R,) arrays, computed where it is needed: of most means only the numbers are."""

    parts: Sequence[Resampled]

    def __len__(self) -> int:
        return len(self.parts[0])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.mean([np.asarray(part) for part in self.parts], axis=0)


def with_means(runs: Sequence[Result], means: Means) -> list[Result]:
    """Return the runs, those that have the very sets of a mean with it as one more OOD set."""
    return [
        _with_means(run, {mean: sets for mean, sets in means.items() if sets and sets_of(run, mean) == sets})
        for run in runs
    ]


def _with_means(run: Result, means: Means) -> Result:
    numbers, resampled, digests = dict(run.numbers), dict(run.resampled), dict(run.digests)
    for mean, sets in means.items():
        for detector, metric in [key[1:] for key in run.numbers if key[0] == sets[0]]:
            keys = [(ood, detector, metric) for ood in sets]
            if not all(key in run.numbers for key in keys):
                continue
            numbers[mean, detector, metric] = float(np.mean([run.numbers[key] for key in keys]))
            parts = [run.resampled[name] for name in starmap(arrays_key, keys) if name in run.resampled]
            if len(parts) == len(sets) and len(set(map(len, parts))) == 1:
                resampled[arrays_key(mean, detector, metric)] = MeanOf(parts)
        if all(run.digests.get(ood) for ood in sets):
            digests[mean] = " ".join(run.digests[ood] for ood in sets)
    return run._replace(
        numbers=numbers,
        resampled=resampled,
        digests=digests,
        near=run.near | {NEAR},
        ood_images=run.ood_images | {mean: sum(run.ood_images[ood] for ood in sets) for mean, sets in means.items()},
    )


def shifted_notes(runs: Sequence[Result]) -> list[str]:
    """Say of shifted ID sets what their columns mean."""
    names = ", ".join(sorted({ood for run in runs for ood in run.ood_images if run.kind(ood) is Kind.SHIFTED}))
    why = "its images are of known classes, so that it is in no mean and neither end of a column is the better one"
    return [f"Shifted ID, {names}: {why}; nothing is marked."] * bool(names)


def mean_notes(runs: Sequence[Result], labels: Mapping[Row, str], means: Means, by: Sequence[str] = ()) -> list[str]:
    """Say over which sets the means are, and which rows have none because their sets are others."""
    over = [f"{mean} over {', '.join(sets)}" for mean, sets in means.items()]
    notes = [f"Unweighted means of the sets' numbers: {'; '.join(over)}."] * bool(over)
    for mean, sets in means.items():
        having = {row_of(run, by) for run in runs if sets_of(run, mean) == sets}
        others: dict[str, dict[Sets, dict[str, None]]] = {}
        for run in runs:
            if (own := sets_of(run, mean)) != sets:
                what = f"Fewer seeds under {mean}: the rest were" if (row := row_of(run, by)) in having else ""
                what = what or f"{MISSING} under {mean}:"
                others.setdefault(what, {}).setdefault(own, {})[f"`{labels[row]}`"] = None
        for what, found in others.items():
            each = "; ".join(f"{', '.join(rows)} ({', '.join(own) or 'none'})" for own, rows in found.items())
            notes.append(f"{what} measured on other sets, which have no common mean: {each}.")
    return notes
