"""Near-OOD and far-OOD: unweighted means over the sets, as one more set of a run."""

from collections.abc import Collection

import numpy as np

from oodbench.evaluation.metric import arrays_key
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.tables.results import Result

NEAR, FAR = "(near)", "(far)"  # names that no set can have
MEANS = (NEAR, FAR)


def with_means(run: Result, near: Collection[str], far: Collection[str]) -> Result:
    """Return the run with the means over these sets, as the sets NEAR and FAR, of detectors that have all of them.

    A mean's resample is the mean of the sets' values on one resample of the images, its interval that of the metric's
    record. Fewer than two sets have no mean.
    """
    for name, sets in ((NEAR, near), (FAR, far)):
        if len(sets) > 1 and set(sets) <= run.ood_images.keys():
            run = _with_mean(run, name, sorted(sets))
    return run


def _with_mean(run: Result, name: str, sets: list[str]) -> Result:
    numbers, intervals, resampled = dict(run.numbers), dict(run.intervals), dict(run.resampled)
    for detector in run.detectors:
        for metric in OOD_METRICS:
            keys = [(ood, detector, metric) for ood in sets]
            if not all(key in run.numbers for key in keys):
                continue
            value = numbers[name, detector, metric] = float(np.mean([run.numbers[key] for key in keys]))
            arrays = [run.resampled[arrays_key(*key)] for key in keys if arrays_key(*key) in run.resampled]
            if len(arrays) == len(keys) and len({len(each) for each in arrays}) == 1:
                mean = resampled[arrays_key(name, detector, metric)] = np.mean(arrays, axis=0)
                intervals[name, detector, metric] = OOD_METRICS[metric].interval(value, mean)
    digests = [run.digests.get(ood, "") for ood in sets]
    return run._replace(
        numbers=numbers,
        intervals=intervals,
        resampled=resampled,
        ood_images=run.ood_images | {name: sum(run.ood_images[ood] for ood in sets)},
        near=run.near | {NEAR},
        digests=run.digests | ({name: " ".join(digests)} if all(digests) else {}),
    )
