"""Training one network: recipe, loop, checkpoints, devices, several processes."""

from oodbench.training.muon import MuonAdam as MuonAdam
from oodbench.training.recipe import cosine as cosine
from oodbench.training.recipe import linear as linear
from oodbench.training.recipe import steps as steps
