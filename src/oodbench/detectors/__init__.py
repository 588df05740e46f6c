"""Post-hoc scores: functions of stored outputs. A score is strangeness: higher is more likely out-of-distribution.

detector(test (N images), reference, **hyperparameters) -> (N,) float64. What is published as confidence is negated.
Letters: D features f, K classes, z their logits, W and b a linear head. Raises NotApplicable where a run has no such
score, ValueError for hyperparameters that no run could have.
"""

from oodbench.detectors.gaussian import gmm, mahalanobis, relative_mahalanobis
from oodbench.detectors.head import dice, fdbd, gradnorm, nci, she
from oodbench.detectors.logits import (
    energy,
    entropy,
    gen,
    kl_matching,
    maxlogit,
    msp,
    native,
    odin_unperturbed,
    temperature_scaling,
)
from oodbench.detectors.neighbours import knn, nnguide, relation
from oodbench.detectors.openmax import openmax
from oodbench.detectors.reference import Array, NotApplicable, Reference
from oodbench.detectors.shaping import ash_b, ash_p, ash_s, lts, react, scale, vra
from oodbench.detectors.subspace import pnml, residual, vim
