"""Losses, one file each with its head: (B, D) features -> logits, probabilities, OOD score and training loss.

Every `Objective` of these modules is an attribute of this package, which is the address that conf/loss uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports, subclass_of
from oodbench.losses.objective import Objective

KIND = subclass_of(Objective)
globals().update(exports(__name__, __path__, KIND))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
