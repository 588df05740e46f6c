"""Scores that need the images or the network: computed at collect time, once a set, and stored.

detector(network, train, **hyperparameters) -> scorer, and scorer((N, 32, 32, 3) uint8) -> (N,) float64, higher is
stranger. `train` is the training set, not augmented and by a network in evaluation mode. Raises NotApplicable where a
network has no such score, ValueError for hyperparameters that no network could have.
"""

from oodbench.image_detectors.dropout import mc_dropout
from oodbench.image_detectors.gram import gram
from oodbench.image_detectors.mahalanobis import mahalanobis_layers
from oodbench.image_detectors.network import ImageDetector, Network, Scorer
from oodbench.image_detectors.odin import odin
from oodbench.image_detectors.rankfeat import rankfeat
