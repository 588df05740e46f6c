"""A benchmark of out-of-distribution detection and calibration for image classifiers."""

import os
from importlib import import_module
from typing import Any

# Set before torch is imported, which brings OpenMP: its threads then sleep while they wait for one another, and do not
# spin. Two threads on two cores, images/s of training, spinning -> asleep, in brackets with one thread; medians of 1 to
# 11 interleaved timings:
#                               alone                   beside one busy process   beside three to five
#   ResNet-18, width 8, fp32    1,540 -> 1,240 (1,010)     420 -> 660 (1,000)     7 times as fast
#   ResNet-18, width 64, bf16     108 -> 106 (59)           39 -> 42 (59)         as fast; below half of one thread
# In the first row, alone, spinning was measured with GOMP_SPINCOUNT=10000. In the second, oneDNN's barrier still spins.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.2.0"
API = ("Outputs", "Run", "evaluate", "figures", "from_arrays", "from_model", "load", "results")


def __getattr__(name: str) -> Any:
    """Import oodbench.api, which notebooks use, when it is asked for: commands import this package, too."""
    if name in API:
        return getattr(import_module("oodbench.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *API]
