"""OOD scores of stored outputs that need nothing else: no training images, no weights, no torch."""

import json
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from oodbench.detectors.logits import energy, msp, ood_score
from oodbench.detectors.reference import without_training
from oodbench.evaluation.arrays import Array
from oodbench.outputs import Outputs
from oodbench.runs.record import MAIN_SCORES, OWN_SCORE

NOTHING = without_training()  # besides the images, which is all that these detectors look at
SUMMARISED = (*MAIN_SCORES, "energy")


class Scored(NamedTuple):
    """One detector's OOD scores, higher = more likely OOD."""

    ids: Array  # (N,)
    oods: dict[str, Array]  # {OOD set: (M,)}


def scores_of(
    test: Outputs, oods: Mapping[str, Outputs], measured: Collection[str], configured: Mapping[str, str]
) -> dict[str, Scored]:
    """Return {detector: its scores} of those in SUMMARISED that the run has numbers of.

    measured: detectors with numbers; configured: {detector: its configuration as JSON}, without which there is no
    energy. A detector that orders all images as an earlier one does is left out.
    """
    found: dict[str, Scored] = {}
    for name in SUMMARISED:
        if name not in measured or (name == "energy" and name not in configured):
            continue
        how = configured.get(name, "{}")
        scored = Scored(_score(name, test, how), {key: _score(name, ood, how) for key, ood in oods.items()})
        if not any(_same_order(scored, other) for other in found.values()):
            found[name] = scored
    return found


def _score(name: str, outputs: Outputs, configured: str) -> Array:
    """(N,), in float64. Raises ValueError where the stored configuration has no usable temperature."""
    if name == "energy":
        temperature = json.loads(configured).get("temperature")
        if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not temperature > 0:
            raise ValueError(f"energy's temperature is {temperature!r}")
        return np.asarray(energy(outputs, NOTHING, float(temperature)), np.float64)
    function = {OWN_SCORE: ood_score, "msp": msp}[name]
    return np.asarray(function(outputs, NOTHING), np.float64)


def _same_order(a: Scored, b: Scored) -> bool:
    """Tell whether one is a rising function of the other on all images, so that all numbers agree."""
    first = np.concatenate([a.ids, *a.oods.values()])
    second = np.concatenate([b.ids, *b.oods.values()])
    ranks, other = (np.unique(scores, return_inverse=True)[1] for scores in (first, second))
    return np.array_equal(ranks, other)
