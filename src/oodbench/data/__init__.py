"""Sets of images, each read by one function into one `Split`.

Every public function of these modules is an attribute of this package, the address that conf/dataset and conf/ood use.
"""

from typing import TYPE_CHECKING, Any

from oodbench.exports import exports

globals().update(exports(__name__, __path__))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
