"""Losses, one file each with its head: (B, D) features -> logits, probabilities, OOD score and training loss.

Every public class of these modules is an attribute of this package, which is the address that conf/loss uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports

globals().update(exports(__name__, __path__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
