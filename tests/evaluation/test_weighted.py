"""Counted images against repeated ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from oodbench.evaluation.bootstrap import metrics_of_counts
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.evaluation.weighted import merge, running_sums

RESAMPLED = {name: metric for name, metric in OOD_METRICS.items() if metric.resampled}
Scores = NDArray[np.float64]
tied = st.lists(st.tuples(st.integers(-4, 4).map(float), st.integers(0, 3)), min_size=1, max_size=50)
spread = st.lists(st.tuples(st.floats(-1e300, 1e300), st.integers(0, 3)), min_size=1, max_size=30)
counted = (tied | spread).filter(lambda images: any(count for _, count in images))


def of_counts(ids: Scores, id_counts: NDArray, oods: Scores, ood_counts: NDArray) -> dict[str, Scores]:
    return metrics_of_counts({"a": merge(ids, oods)}, id_counts, ood_counts)["a"]


def assert_equals_repeated(ids: Scores, id_counts: NDArray, oods: Scores, ood_counts: NDArray) -> None:
    values = of_counts(ids, id_counts, oods, ood_counts)
    assert values.keys() == RESAMPLED.keys()
    for r in range(id_counts.shape[1]):
        repeated = np.repeat(ids, id_counts[:, r]), np.repeat(oods, ood_counts[:, r])
        for name, metric in RESAMPLED.items():
            assert values[name][r] == pytest.approx(metric(*repeated), rel=0, abs=1e-12), (name, r)


@given(counted, counted)
def test_metrics_of_counts_are_those_of_repeated_images(
    ids: list[tuple[float, int]], oods: list[tuple[float, int]]
) -> None:
    (id_scores, id_counts), (ood_scores, ood_counts) = (map(np.array, zip(*x, strict=True)) for x in (ids, oods))
    both = [np.stack([counts, np.ones_like(counts)], axis=1) for counts in (id_counts, ood_counts)]
    assert_equals_repeated(id_scores, both[0], ood_scores, both[1])


@pytest.mark.parametrize("levels", [3, 200, 10**9])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_metrics_of_counts_over_more_images_than_a_block(levels: int, dtype: type) -> None:
    random = np.random.default_rng(levels)
    ids, oods = random.integers(levels, size=2500) / 1.0, random.integers(levels, size=1100) + levels // 4 / 1.0
    counts = [random.poisson(1, size=(n, 3)).astype(dtype) for n in (2500, 1100)]
    assert_equals_repeated(ids, counts[0], oods, counts[1])


def test_counts_beyond_16_bits_are_summed_exactly() -> None:
    random = np.random.default_rng(0)
    ids, oods = random.integers(20, size=100) / 1.0, random.integers(25, size=150) / 1.0
    counts = random.integers(0, 900, (100, 2)), random.integers(0, 900, (150, 2))
    assert_equals_repeated(ids, counts[0], oods, counts[1])


def test_95_percent_of_counted_images_is_the_ceiling() -> None:
    for n in range(1, 201):
        ranks, ones = np.arange(1.0, n + 1), np.ones((n, 1), np.int64)
        values, share = of_counts(ranks, ones, ranks, ones), -(-95 * n // 100) / n
        assert (values["fpr95_idpos"][0], values["fpr95_oodpos"][0]) == (share, share), n


def test_a_column_without_an_image_of_a_kind_is_refused() -> None:
    scores, ones, hole = np.arange(3.0), np.ones((3, 2), int), np.array([[1, 0]] * 3)
    with pytest.raises(ValueError, match="no image of one kind"):
        of_counts(scores, ones, scores, hole)
    with pytest.raises(ValueError, match="no image of one kind"):
        of_counts(scores, hole, scores, ones)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 64, 100])
def test_running_sums_are_those_of_numpy(n: int) -> None:
    random = np.random.default_rng(n)
    counts, order = random.integers(4, size=(n, 5)), random.permutation(n)
    sums = running_sums(counts.astype(np.uint16), order)
    assert (sums[0] == 0).all()
    assert (sums[1:] == counts[order].cumsum(0)).all()
