"""Networks: (B, 3, 32, 32) normalised images -> (B, num_features) features.

Every public class of these modules is an attribute of this package, which is the address that conf/backbone uses.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports

globals().update(exports(__name__, __path__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
