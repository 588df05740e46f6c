"""Training one network: recipe, loop, checkpoints, devices, several processes."""

from oodbench.training.recipe import cosine as cosine
