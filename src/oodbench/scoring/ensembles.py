"""An ensemble over the seeds of one configuration, from their stored outputs: the mean of their probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp

from oodbench.detectors.logits import entropy, msp
from oodbench.detectors.reference import without_training
from oodbench.evaluation.arrays import Array
from oodbench.evaluation.evaluate import evaluate, intervals
from oodbench.outputs import Outputs
from oodbench.phrases import counted
from oodbench.runs.code import detector_code, metric_code
from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.paths import ENSEMBLE, finished_seeds
from oodbench.runs.record import Record
from oodbench.scoring.stored import stored_on
from oodbench.storage import write_json

DETECTORS = {"msp": msp, "entropy": entropy}  # functions of the predictive probabilities alone
NODES = {name: {"_target_": f"oodbench.detectors.{name}"} for name in DETECTORS}
Member = tuple[RunFolder, Record]


def score_ensemble(path: Path) -> dict[str, Any]:
    """Score the ensemble of all finished seeds in a folder on the OOD sets that all have; write and return the numbers.

    The numbers are those of a run's record, of `DETECTORS` alone. Raises ValueError where fewer than two seeds are
    finished, a seed's outputs are missing, or images differ between seeds.
    """
    folders = [open_run(folder)[0] for folder in finished_seeds(path)]
    if len(folders) < 2:
        raise ValueError(f"{path} has {counted(len(folders), 'finished seed')}; an ensemble needs two")
    members = [(folder, folder.read_record()) for folder in folders]
    shared = set.intersection(*(set(record["ood"]) for _, record in members))
    images, digests = {}, {}
    for name in ("test", *sorted(shared)):
        images[name], digests[name] = _images(members, name)
    test = _outputs(members, "test")
    ood = {name: _outputs(members, name) for name in sorted(shared)}
    numbers, resamples = evaluate(test, ood, DETECTORS, without_training())
    content = {
        "run": folders[0].run.hash,
        "members": {str(folder.run.seed): record["weights"] for folder, record in members},
        "code": {str(folder.run.seed): record["provenance"].get("code", {}) for folder, record in members},
        **numbers,
        "intervals": intervals(numbers, resamples),
        "provenance": {"images": images, "digests": digests, "detector_code": detector_code(NODES)}
        | {"metric_code": metric_code()},
    }
    write_json(path / ENSEMBLE, content)
    return content


def _images(members: Sequence[Member], name: str) -> tuple[int, str]:
    """Return number and digest of a set's images. Raises ValueError where the members' differ."""
    found = {(r["provenance"]["images"][name], r["provenance"]["digests"][name]) for _, r in members}
    if len(found) > 1:
        raise ValueError(f"the seeds of {members[0][0].path.parent} were scored on other images of {name}")
    return found.pop()


def _outputs(members: Sequence[Member], name: str) -> Outputs:
    """Return the mean probabilities of a set's images; of the members' features, logits and scores there is no mean."""
    outputs = [stored_on(folder, name, record["provenance"]["digests"]) for folder, record in members]
    if any(not np.array_equal(each.labels, outputs[0].labels) for each in outputs):
        raise ValueError(f"the seeds of {members[0][0].path.parent} have other labels of {name}")
    log_probs = mean_log_probs([each.log_probs for each in outputs])
    no_features = np.empty((len(log_probs), 0), np.float32)
    no_score = np.full(len(log_probs), np.nan)
    return Outputs(no_features, no_features, log_probs.astype(np.float64), no_score, outputs[0].labels)


def mean_log_probs(members: Sequence[Array]) -> Array:
    """S x (N, K) -> (N, K), log (1/S sum_s p_s)   (Lakshminarayanan et al., 2017)

    Computed in logarithms, so that no probability is lost to underflow; rows need not sum to one. Raises ValueError for
    members of other shapes, and for none.
    """
    shapes = {member.shape for member in members}
    if len(shapes) != 1:
        raise ValueError(f"log-probabilities of the shapes {sorted(shapes)}: members of one shape are needed")
    return logsumexp(np.stack(members), axis=0) - np.log(len(members))
