"""Scores that need the images or the network: computed at collect time, once a set, and stored.

detector(network, train, **hyperparameters) -> scorer, and scorer((N, 32, 32, 3) uint8) -> (N,) float64, higher is
stranger. `train` is the training set, not augmented and by a network in evaluation mode. Raises NotApplicable where a
network has no such score, ValueError for hyperparameters that no network could have.

Every public function of these modules is an attribute of this package, the address that conf/image_detector uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports

globals().update(exports(__name__, __path__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
