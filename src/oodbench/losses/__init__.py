"""One loss, one file, its head with it. A new one needs nothing here: conf/loss names its class."""

from oodbench.losses.ce import CrossEntropy
from oodbench.losses.circle import Circle
from oodbench.losses.elsewhere import HeadlessElsewhere, LinearElsewhere
from oodbench.losses.focal import Focal
from oodbench.losses.ghm import GHMC
from oodbench.losses.halo import Halo
from oodbench.losses.logitnorm import LogitNorm
from oodbench.losses.objective import Objective

__all__ = [
    "GHMC",
    "Circle",
    "CrossEntropy",
    "Focal",
    "Halo",
    "HeadlessElsewhere",
    "LinearElsewhere",
    "LogitNorm",
    "Objective",
]
