"""Hyperparameters of a detector, chosen on images that no table reports."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.evaluation.evaluate import scores_of
from oodbench.evaluation.metrics.detection import auroc
from oodbench.outputs import Outputs, concatenate


class Chosen(NamedTuple):
    """The hyperparameters of the grid with the highest AUROC on the validation images."""

    hyperparameters: dict[str, Any]
    auroc: float


def select(
    detector: Callable[..., Array],
    grid: Mapping[str, Sequence[Any]],
    reference: Reference,
    id_validation: Outputs,
    ood_validation: Outputs,
) -> Chosen:
    """Return the combination of the grid's values with the highest AUROC; of equals the first.

    detector(test, reference, **hyperparameters); grid: {hyperparameter: values}. A combination that does not apply, or
    is out of range, is passed over, and with a warning one whose scores are not finite; if none is left, NotApplicable
    says why the last one is not.
    """
    if not grid or not all(grid.values()):
        raise ValueError(f"the grid is {dict(grid)}; it needs a hyperparameter, and values for each")
    images = concatenate([id_validation, ood_validation])
    best: Chosen | None = None
    last: Exception | None = None
    for values in product(*grid.values()):
        hyperparameters = dict(zip(grid, values, strict=True))
        try:
            scores = scores_of(partial(detector, **hyperparameters), images, reference)
        except (NotApplicable, ValueError) as reason:  # ValueError: more dimensions than features, say
            last = reason
            continue
        if bad := np.count_nonzero(~np.isfinite(scores)):
            last = ValueError(f"{bad} of {len(scores)} scores are not finite with {hyperparameters}")
            warnings.warn(f"passed over in the search: {last}", stacklevel=2)
            continue
        value = auroc(*np.split(scores, [len(id_validation.labels)]))
        if best is None or value > best.auroc:
            best = Chosen(hyperparameters, value)
    if best is None:
        raise NotApplicable(f"no combination of the grid applies: {last}")
    return best
