"""The contract of every metric's record, a new one's as well."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import log_softmax

from oodbench.evaluation import bootstrap
from oodbench.evaluation.bootstrap import metrics_of_counts, resampled_id
from oodbench.evaluation.metric import Metric
from oodbench.evaluation.metrics import CALIBRATION_METRICS, ID_METRICS, OOD_METRICS
from oodbench.evaluation.weighted import merge

Array = NDArray[np.float64]
OF_ID = CALIBRATION_METRICS | ID_METRICS
RESAMPLED = [metric for metric in OOD_METRICS.values() if metric.resampled]


def every(metrics: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("metric", metrics.values(), ids=metrics)


def classifier(n: int, scale: float = 1.0) -> tuple[Array, NDArray[np.int64]]:
    """(N, 4) log-probabilities, and labels that follow them where scale is 1"""
    random = np.random.default_rng(n)
    z = 2 * random.normal(size=(n, 4))
    return log_softmax(scale * z, axis=1), (z + random.gumbel(size=z.shape)).argmax(1)


@every(OF_ID | OOD_METRICS)
def test_the_record_says_what_tables_need(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", metric.name)
    assert metric.heading
    assert metric.definition
    assert not metric.definition.endswith(".")
    assert metric.title[-1] == ("↑" if metric.higher_is_better else "↓")


def test_no_two_records_share_a_name_or_a_heading() -> None:
    metrics = (OF_ID | OOD_METRICS).values()
    assert len({metric.name for metric in metrics}) == len(OF_ID) + len(OOD_METRICS)
    assert len({metric.heading for metric in metrics}) == len(metrics)


@every(OOD_METRICS)
def test_an_ood_metric_prefers_scores_that_separate(metric: Metric) -> None:
    low, high = np.arange(100.0) / 300 - 1, np.arange(200.0, 300) / 300 - 1  # as probabilities are, negated
    better, worse = metric(low, high), metric(high, low)
    assert (better > worse) == metric.higher_is_better
    assert 0 <= min(better, worse) <= max(better, worse) <= metric.unit.largest
    assert {type(better), type(worse)} == {float}


@every(OF_ID)
def test_half_precision_is_cast_up(metric: Metric) -> None:
    log_probs, labels = classifier(2000)
    narrow = log_probs.astype(np.float16)
    assert metric(narrow, labels) == metric(narrow.astype(np.float64), labels)


@every(OF_ID)
def test_an_id_metric_prefers_probabilities_that_are_right(metric: Metric) -> None:
    right, labels = np.log(np.full((30, 3), 0.0005) + 0.9985 * np.eye(3).repeat(10, axis=0)), np.arange(3).repeat(10)
    better, worse = metric(right, labels), metric(right, (labels + 1) % 3)
    assert (better > worse) == metric.higher_is_better
    assert 0 <= min(better, worse) <= max(better, worse) <= metric.unit.largest
    assert {type(better), type(worse)} == {float}


@every(OOD_METRICS)
@pytest.mark.parametrize("bad", [[np.nan, 1.0], []])
def test_an_ood_metric_refuses_nan_and_no_image(metric: Metric, bad: list[float]) -> None:
    for scores in ((np.array(bad), np.ones(3)), (np.ones(3), np.array(bad))):
        with pytest.raises(ValueError, match="scores"):
            metric(*scores)


@every(OF_ID)
@pytest.mark.parametrize("bad", [np.full((2, 3), np.nan), np.zeros((0, 3))])
def test_an_id_metric_refuses_nan_and_no_image(metric: Metric, bad: Array) -> None:
    with pytest.raises(ValueError, match="log_probs"):
        metric(bad, np.zeros(len(bad), dtype=np.int64))


@pytest.mark.parametrize("metric", RESAMPLED, ids=lambda metric: metric.name)
@pytest.mark.parametrize("levels", [4, 10**9])
def test_the_resampled_form_is_that_of_repeated_images(metric: Metric, levels: int) -> None:
    random = np.random.default_rng(levels)
    ids, oods = random.integers(levels, size=150) / levels, random.integers(levels, size=90) / levels + 0.3
    counts = random.poisson(1, size=(150, 20)), random.poisson(1, size=(90, 20))
    values = metrics_of_counts({"a": merge(ids, oods)}, *counts)["a"][metric.name]
    for r in range(20):
        repeated = np.repeat(ids, counts[0][:, r]), np.repeat(oods, counts[1][:, r])
        assert values[r] == pytest.approx(metric(*repeated), abs=1e-12)


@pytest.mark.parametrize("metric", [m for m in ID_METRICS.values() if m.resampled], ids=lambda metric: metric.name)
@pytest.mark.parametrize("scale", [1, 5])
def test_the_resampled_id_form_is_that_of_repeated_images(metric: Metric, scale: float) -> None:
    log_probs, labels = classifier(200, scale)
    values = resampled_id(log_probs, labels, 20, 3)[metric.name]
    counts = np.concatenate(list(bootstrap._draws(200, 20, [3, 0])), axis=1)
    for r in range(20):
        repeated = np.repeat(log_probs, counts[:, r], axis=0), np.repeat(labels, counts[:, r])
        assert values[r] == pytest.approx(metric(*repeated), abs=1e-12)


@every({name: metric for name, metric in (ID_METRICS | OOD_METRICS).items() if metric.resampled})
def test_the_interval_is_within_the_range(metric: Metric) -> None:
    values = np.random.default_rng(0).beta(1, 2, size=500)
    for value in (0.0, 0.01, 0.5, 0.99, 1.0):
        low, high = metric.interval(value, values)
        assert 0 <= low <= high <= metric.unit.largest
