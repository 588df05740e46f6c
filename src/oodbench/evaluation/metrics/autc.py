import numpy as np

from oodbench.evaluation.arrays import Array, checked
from oodbench.evaluation.metric import SHARE, OODMetric


def autc(id_scores: Array, ood_scores: Array) -> float:
    """(N,), (M,) -> (1 + mean ID score - mean OOD score) / 2, in [0, 1]; lower is better, 0.5 is no separation.

    Mean over all thresholds t in [0, 1] of (share of ID images with s >= t + share of OOD images with s < t) / 2, with
    s = 1 - p of a score -p (Humblot-Renaux et al., 2023). It depends on the scale of the score, so it is defined for
    probabilities alone: raises ValueError for a score outside [-1, 0].
    """
    of_id, of_ood = _in_range("ID scores", id_scores), _in_range("OOD scores", ood_scores)
    return float((1 + of_id.mean() - of_ood.mean()) / 2)


def _in_range(name: str, scores: Array) -> Array:
    scores = checked(name, scores)
    if scores.min() < -1 - 1e-9 or scores.max() > 0:  # a probability may be off by rounding
        raise ValueError(f"{name} are in [{scores.min()}, {scores.max()}]; AUTC is of probabilities p, scores -p")
    return np.clip(scores, -1, 0)


AUTC = OODMetric(
    name="autc",
    function=autc,
    resampled=None,
    higher_is_better=False,
    unit=SHARE,
    heading="AUTC",
    definition="mean over all thresholds in [0, 1] of the mean of both error rates; for probabilities only",
    source="Humblot-Renaux et al., 2023",
    in_tables=False,
    of_probabilities=True,
)
