"""Resamples in few bits: rounded to DECIMALS, and each array packed into as many bits as its range needs.

Equal values stay equal in every array and every run, so that ties of paired tests stay ties. Tables round whatever
resamples they read (`Rounded`), so that a run and its reduced copy give the same tables to the letter.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oodbench.evaluation.arrays import Array
from oodbench.storage import Arrays

DECIMALS = 5  # a thousandth of a percentage point, a tenth of the last digit of a table; values are off by half of it
PER_UNIT = 10**DECIMALS
LARGEST = 1_000_000  # resamples of a number; a constant array has no bits that would limit them
LARGEST_VALUE = 1e9  # of a resample; times PER_UNIT it is far from the ends of an int64
Integers = NDArray[np.int64]


class Resampled(Protocol):
    """(R,) values, which become an array where NumPy needs one."""

    def __len__(self) -> int: ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array: ...


class Rounded:
    """(R,) values rounded to DECIMALS, held in as few bytes as their range needs: two in place of eight."""

    __slots__ = ("above", "least")

    def __init__(self, values: Array) -> None:
        steps = _steps(values)
        self.least = int(steps.min())
        above = steps - self.least
        self.above = above.astype(np.min_scalar_type(int(above.max())))

    def __len__(self) -> int:
        return len(self.above)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return (self.least + self.above.astype(np.int64)) / PER_UNIT


def _steps(values: Array) -> Integers:
    """(R,) -> (R,). Raises ValueError for what no resamples of a number can be."""
    if values.ndim != 1 or not len(values) or not (np.abs(values) < LARGEST_VALUE).all():
        raise ValueError(f"resamples of shape {values.shape}, not all of them finite; a row of numbers is needed")
    return np.rint(np.asarray(values, np.float64) * PER_UNIT).astype(np.int64)


def pack(arrays: Mapping[str, Array]) -> tuple[Arrays, dict[str, str]]:
    """{name: (R,)} -> arrays and metadata for a file, which `unpack` turns into {name: rounded (R,)}.

    An array is min + multiple k with k of `bits` bits, multiple the greatest that serves all its values: 10 for a share
    of 10,000 images. Arrays of the same values, such as those of two scores of one order, are stored once.
    """
    index: list[tuple[int, ...]] = []
    parts: dict[bytes, int] = {}  # {packed bits: the byte they begin at}
    end = 0
    for values in arrays.values():
        steps = _steps(values)
        least = int(steps.min())
        multiple = int(np.gcd.reduce(steps - least)) or 1
        k = (steps - least) // multiple
        bits = int(k.max()).bit_length()
        data = np.packbits((k[:, None] >> np.arange(bits)) & 1).tobytes()
        start = parts.setdefault(data, end)
        end = max(end, start + len(data))
        index.append((start, len(k), bits, least, multiple))
    packed = np.frombuffer(b"".join(parts), np.uint8)
    return {"packed": packed, "index": np.array(index, np.int64).reshape(-1, 5)}, {"names": json.dumps(list(arrays))}


def unpack(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Arrays:
    """Return {name: (R,)} of what `pack` made. Raises ValueError for what it did not."""
    try:
        names, packed = json.loads(metadata["names"]), arrays["packed"]
        return {name: _values(packed, *map(int, row)) for name, row in zip(names, arrays["index"], strict=True)}
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"not what reduced resamples look like: {type(error).__name__} {error}") from error


def _values(packed: NDArray[Any], start: int, count: int, bits: int, least: int, multiple: int) -> Array:
    data = packed[max(0, start) :][: -(-count * bits // 8)]
    if not (start >= 0 and 0 <= count <= LARGEST and 0 <= bits <= 62 and count * bits <= 8 * len(data)):
        raise ValueError(f"{count} values of {bits} bits do not stand at byte {start} of {len(packed)}")
    k = np.unpackbits(data, count=count * bits).reshape(count, bits).astype(np.int64) @ (1 << np.arange(bits))
    return (least + multiple * k) / PER_UNIT
