"""Detectors that need the images and the network: computed once for each set, after training, and stored.

detector(network, train, **hyperparameters) -> scorer;  scorer((N, 32, 32, 3) uint8) -> (N,) float64, an OOD score,
higher = more likely OOD. `train` is the training set without augmentation; the network is in evaluation mode. A
detector raises NotApplicable if it cannot judge this network, ValueError for hyperparameters out of range.

Detectors are the public functions of these modules whose first arguments are `network` and `train`. They alone are
attributes of this package, the address that conf/image_detector uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports, function_of

globals().update(exports(__name__, __path__, function_of("network", "train")))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
