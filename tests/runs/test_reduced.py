"""Resamples in few bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from oodbench.runs.reduced import Rounded, pack, unpack

Values = NDArray[np.float64]
some = arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 20))


@given(some)
def test_a_value_is_rounded_to_five_decimals(values: Values) -> None:
    rounded = np.asarray(Rounded(values))
    np.testing.assert_array_equal(rounded, np.round(values, 5))
    assert np.abs(rounded - values).max() <= 0.5e-5 + 1e-12


def test_shares_are_held_in_two_bytes_each() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.02, 1000)
    held = Rounded(values)
    assert len(held) == 1000
    assert held.above.nbytes <= 2000


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [1e300], [], [[0.5]], 0.5])
def test_what_no_resamples_can_be_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="a row of numbers is needed"):
        Rounded(np.array(values, float))
    with pytest.raises(ValueError, match="a row of numbers is needed"):
        pack({"a": np.array(values, float)})


@given(st.lists(some, max_size=4))
def test_what_is_unpacked_is_what_was_rounded(several: list[Values]) -> None:
    named = {f"set/detector/{i}": values for i, values in enumerate(several)}
    found = unpack(*pack(named))
    assert list(found) == list(named)
    for name, values in named.items():
        np.testing.assert_array_equal(found[name], np.asarray(Rounded(values)))


@given(arrays(np.int64, (2, 30), elements=st.integers(0, 10_000)))
def test_shares_of_ten_thousand_images_stay_as_they_are(counts: NDArray[np.int64]) -> None:
    shares = counts / 10_000
    found = unpack(*pack({"a": shares[0], "b": shares[1]}))
    np.testing.assert_array_equal([found["a"], found["b"]], shares)


def test_equal_arrays_are_stored_once() -> None:
    values = np.random.default_rng(0).normal(0.9, 0.003, 1000)
    once, _ = pack({"a": values})
    twice, _ = pack({"a": values, "b": values.copy()})
    assert len(once["packed"]) == len(twice["packed"])


def test_an_auroc_takes_less_than_twelve_bits_a_resample() -> None:
    packed, _ = pack({"svhn/msp/auroc": np.random.default_rng(0).normal(0.95, 0.003, 1000)})
    assert len(packed["packed"]) <= 1000 * 12 / 8


@pytest.mark.parametrize(
    "change", [{"start": -1}, {"start": 99}, {"count": 10**9}, {"count": -1}, {"bits": 63}, {"bits": -1}]
)
def test_an_index_that_points_elsewhere_is_refused(change: dict[str, int]) -> None:
    packed, about = pack({"a": np.linspace(0, 1, 10)})
    columns = ["start", "count", "bits", "least", "multiple"]
    packed["index"] = np.array([[change.get(name, packed["index"][0][i]) for i, name in enumerate(columns)]])
    with pytest.raises(ValueError, match="do not stand at byte"):
        unpack(packed, about)


def test_a_constant_has_no_bits_and_a_limit() -> None:
    packed, about = pack({"a": np.full(1000, 0.5)})
    assert len(packed["packed"]) == 0
    np.testing.assert_array_equal(unpack(packed, about)["a"], 0.5)
    packed["index"] = np.array([[0, 10**12, 0, 50_000, 1]])
    with pytest.raises(ValueError, match="do not stand"):
        unpack(packed, about)


@pytest.mark.parametrize("missing", ["packed", "index", "names"])
def test_a_missing_part_is_refused(missing: str) -> None:
    packed, about = pack({"a": np.linspace(0, 1, 10)})
    packed.pop(missing, None)
    about.pop(missing, None)
    with pytest.raises(ValueError, match="not what reduced resamples look like"):
        unpack(packed, about)
