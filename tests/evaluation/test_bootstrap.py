"""Counted images against repeated ones, resamples against the metrics, and intervals against a known truth."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from oodbench.evaluation import bootstrap, metrics
from oodbench.evaluation.bootstrap import (
    basic_interval,
    bootstrap_id,
    bootstrap_ood,
    percentile_interval,
    resampled_ood,
)
from oodbench.evaluation.metrics import OOD_METRICS
from oodbench.evaluation.weighted import merge, metrics_of_counts, running_sums

Scores = NDArray[np.float64]
tied = st.lists(st.tuples(st.integers(-4, 4).map(float), st.integers(0, 3)), min_size=1, max_size=50)
spread = st.lists(st.tuples(st.floats(-1e300, 1e300), st.integers(0, 3)), min_size=1, max_size=30)
counted = (tied | spread).filter(lambda images: any(count for _, count in images))


def of_counts(ids: Scores, id_counts: NDArray, oods: Scores, ood_counts: NDArray) -> dict[str, Scores]:
    return metrics_of_counts({"a": merge(ids, oods)}, id_counts, ood_counts)["a"]


def assert_equals_repeated(ids: Scores, id_counts: NDArray, oods: Scores, ood_counts: NDArray) -> None:
    values = of_counts(ids, id_counts, oods, ood_counts)
    assert values.keys() == OOD_METRICS.keys()
    for r in range(id_counts.shape[1]):
        repeated = np.repeat(ids, id_counts[:, r]), np.repeat(oods, ood_counts[:, r])
        for name, metric in OOD_METRICS.items():
            assert values[name][r] == pytest.approx(metric(*repeated), rel=0, abs=1e-12), (name, r)


@given(counted, counted)
def test_metrics_of_counts_are_the_metrics_of_repeated_images(
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


def test_95_percent_of_the_counted_images_is_the_ceiling_in_integers() -> None:
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


# ---- what is drawn


def drawn(images: int, resamples: int, seed: int = 0, kind: int = 0) -> NDArray:
    return np.concatenate(list(bootstrap._draws(images, resamples, [seed, kind])), axis=1)


def test_a_resample_has_as_many_images_as_the_set_and_every_image_is_as_likely() -> None:
    counts = drawn(50, 4000)
    assert counts.shape == (50, 4000)
    assert (counts.sum(0) == 50).all()
    table = np.bincount(counts.ravel().astype(int), minlength=8)[:6]
    expected = 200_000 * stats.binom.pmf(np.arange(6), 50, 1 / 50)
    assert (abs(table - expected) < 5 * np.sqrt(expected)).all()
    assert counts.mean(1) == pytest.approx(1, abs=5 / 4000**0.5)


def test_what_is_drawn_is_blind_to_the_block_and_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    ids, oods = {"a": random.normal(size=40)}, {"a": random.normal(size=30)}
    once = resampled_ood(ids, oods, 20, 5)["a"]
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    again = resampled_ood({"z": -ids["a"], **ids}, {"z": oods["a"], **oods}, 20, 5)["a"]
    assert all((once[name] == again[name]).all() for name in OOD_METRICS)
    other = resampled_ood(ids, oods, 20, 6)["a"]
    assert not (once["auroc"] == other["auroc"]).all()


def test_id_images_are_the_same_for_every_ood_set_and_for_accuracy() -> None:
    """With one OOD image at 0, FPR@95 with OOD positive is the share of ID above 0."""
    correct = np.random.default_rng(0).random(60) < 0.7
    ids = np.where(correct, -1.0, 1.0)
    shares = resampled_ood({"a": ids}, {"a": np.zeros(1)}, 50, 2)["a"]["fpr95_oodpos"]
    log_probs = np.log(np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9]))
    accuracy = bootstrap.resampled_id(log_probs, np.zeros(60, int), 50, 2)["accuracy"]
    assert accuracy == pytest.approx(1 - shares, abs=1e-12)


def test_resampled_metrics_of_a_classifier_are_the_metrics_of_repeated_images() -> None:
    random = np.random.default_rng(1)
    z = 2 * random.normal(size=(300, 4))
    log_probs, labels = z - np.logaddexp.reduce(z, axis=1, keepdims=True), random.integers(4, size=300)
    values, counts = bootstrap.resampled_id(log_probs, labels, 10, 7), drawn(300, 10, 7)
    for r in range(10):
        p, y = np.repeat(log_probs, counts[:, r], axis=0), np.repeat(labels, counts[:, r])
        assert values["accuracy"][r] == pytest.approx(metrics.accuracy(p, y), abs=1e-12)
        assert values["nll"][r] == pytest.approx(metrics.nll(p, y), abs=1e-12)
        assert values["brier"][r] == pytest.approx(metrics.brier(p, y), abs=1e-12)
        assert values["ece"][r] == pytest.approx(metrics.ece(np.exp(p.max(1)), p.argmax(1) == y), abs=1e-12)


def test_intervals_are_percentiles_and_turned_over_for_ece() -> None:
    values = np.arange(1001.0)
    assert percentile_interval(values) == pytest.approx((25, 975))
    assert percentile_interval(values, 0.9) == pytest.approx((50, 950))
    assert basic_interval(400, values) == pytest.approx((-175, 775))
    random = np.random.default_rng(1)
    z = random.normal(size=(200, 4))
    log_probs, labels = z - np.logaddexp.reduce(z, axis=1, keepdims=True), random.integers(4, size=200)
    intervals, drawn_values = bootstrap_id(log_probs, labels, 100, 3), bootstrap.resampled_id(log_probs, labels, 100, 3)
    value = metrics.ece(np.exp(log_probs.max(1)), log_probs.argmax(1) == labels)
    assert intervals["ece"] == basic_interval(value, drawn_values["ece"])
    assert intervals["nll"] == percentile_interval(drawn_values["nll"])


def test_every_metric_of_every_detector_has_an_interval_around_it() -> None:
    random = np.random.default_rng(0)
    ids = {name: random.normal(size=300) for name in "ab"}
    oods = {name: random.normal(1, size=200) for name in "ab"}
    intervals = bootstrap_ood(ids, oods, 200, 0)
    assert intervals.keys() == ids.keys()
    for name, row in intervals.items():
        assert row.keys() == OOD_METRICS.keys()
        for metric, (low, high) in row.items():
            assert low < OOD_METRICS[metric](ids[name], oods[name]) < high


def test_an_interval_of_perfect_scores_is_a_point() -> None:
    intervals = bootstrap_ood({"a": np.arange(5.0)}, {"a": np.arange(10.0, 14)}, 50, 0)["a"]
    assert list(intervals.values()) == [(1, 1), (0, 0), (0, 0), (1, 1), (1, 1)]


def test_mistakes_name_the_detector() -> None:
    good, spoilt = np.arange(3.0), np.array([0, np.nan, 1])
    with pytest.raises(ValueError, match=r"detector b: OOD scores: 1 of 3 are not finite"):
        bootstrap_ood({"a": good, "b": good}, {"a": good, "b": spoilt}, 10, 0)
    with pytest.raises(ValueError, match=r"\{'a': 3, 'b': 2\}"):
        bootstrap_ood({"a": good, "b": good[:2]}, {"a": good, "b": good}, 10, 0)


# ---- intervals on data whose truth is known: 95 % of them hold it


def holds_95_percent(hits: list[bool]) -> bool:
    """Within 3.5 standard errors of a binomial, and one point for the percentile interval's own error at this size"""
    return abs(float(np.mean(hits)) - 0.95) < 3.5 * (0.95 * 0.05 / len(hits)) ** 0.5 + 0.01


def binormal(simulations: int) -> Iterator[tuple[Scores, Scores]]:
    random = np.random.default_rng(11)
    for _ in range(simulations):
        yield random.normal(size=200), random.normal(1.2, 1, size=150)


def test_intervals_of_auroc_and_fpr_hold_the_truth_in_95_percent() -> None:
    truth = {
        "auroc": stats.norm.cdf(1.2 / 2**0.5),
        "fpr95_idpos": stats.norm.cdf(stats.norm.ppf(0.95) - 1.2),
        "fpr95_oodpos": stats.norm.sf(stats.norm.ppf(0.05) + 1.2),
    }
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    for seed, (ids, oods) in enumerate(binormal(400)):
        intervals = bootstrap_ood({"a": ids}, {"a": oods}, 400, seed)["a"]
        for name, value in truth.items():
            hits[name].append(intervals[name][0] <= value <= intervals[name][1])
    assert all(holds_95_percent(hit) for hit in hits.values()), {name: np.mean(hit) for name, hit in hits.items()}


def test_intervals_of_accuracy_and_nll_hold_the_truth_in_95_percent() -> None:
    random, right = np.random.default_rng(12), np.log([0.8, 0.2])
    hits: dict[str, list[bool]] = {"accuracy": [], "nll": []}
    for seed in range(400):
        labels = (random.random(400) > 0.7).astype(np.int64)
        intervals = bootstrap_id(np.tile(right, (400, 1)), labels, 400, seed)
        for name, value in {"accuracy": 0.7, "nll": -0.7 * right[0] - 0.3 * right[1]}.items():
            hits[name].append(intervals[name][0] <= value <= intervals[name][1])
    assert all(holds_95_percent(hit) for hit in hits.values()), {name: np.mean(hit) for name, hit in hits.items()}
