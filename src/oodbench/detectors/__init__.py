"""Post-hoc detectors: functions of stored outputs that return an OOD score, higher = more likely OOD.

detector(test (N images), reference, **hyperparameters) -> (N,) float64. Scores published as confidences are negated.
Letters: D features f, K classes, z their logits, p their probabilities, W and b a linear head. A detector raises
NotApplicable if it cannot judge a run, ValueError for hyperparameters out of range.

Detectors are the public functions of these modules whose first arguments are `test` and `reference`. They alone are
attributes of this package, the address that conf/detector uses, besides what a new one needs.
"""

from typing import TYPE_CHECKING, Any

from oodbench.detectors.reference import NotApplicable, Reference
from oodbench.exports import exports, function_of

KIND = function_of("test", "reference")
globals().update(exports(__name__, __path__, KIND))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
