"""Networks: (B, 3, 32, 32) normalised images -> (B, num_features) features.

Every public Module of these modules is an attribute of this package, which is the address that conf/backbone uses.
"""

from typing import TYPE_CHECKING, Any

from torch import nn

from oodbench.exports import exports, subclass_of

KIND = subclass_of(nn.Module)
globals().update(exports(__name__, __path__, KIND))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
