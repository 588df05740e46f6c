"""Sets of images, each read by one function into one `Split`.

A reader is a public function of these modules that makes a `Split` from plain values. Readers alone are attributes of
this package, the address that conf/dataset and conf/ood use, besides what a notebook needs to put the sets of a run
together. Machinery such as the function that removes stale files has no address that a configuration could name.
"""

from typing import TYPE_CHECKING, Any

from oodbench.data.readers import is_reader
from oodbench.data.sets import DataSplits, Limits, data_splits
from oodbench.data.split import UNKNOWN, Split
from oodbench.exports import exports

KIND = is_reader
globals().update(exports(__name__, __path__, KIND))

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
