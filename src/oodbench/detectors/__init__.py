"""Post-hoc detectors: functions of stored outputs that return an OOD score, higher = more likely OOD.

detector(test (N images), reference, **hyperparameters) -> (N,) float64. Scores published as confidences are negated.
Letters: D features f, K classes, z their logits, p their probabilities, W and b a linear head. A detector raises
NotApplicable if it cannot judge a run, ValueError for hyperparameters out of range.

Every public function of these modules is an attribute of this package, which is the address that conf/detector uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports

globals().update(exports(__name__, __path__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
