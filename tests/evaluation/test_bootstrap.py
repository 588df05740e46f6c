"""Draws, resamples against the metrics, and intervals against a known truth."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from oodbench.evaluation import bootstrap
from oodbench.evaluation.bootstrap import resampled_id, resampled_ood
from oodbench.evaluation.evaluate import intervals
from oodbench.evaluation.intervals import percentile_interval
from oodbench.evaluation.metric import arrays_key
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS

Scores = NDArray[np.float64]
RESAMPLED = {name: metric for name, metric in OOD_METRICS.items() if metric.resampled}


def drawn(images: int, resamples: int, seed: int = 0, kind: int = 0) -> NDArray:
    return np.concatenate(list(bootstrap._draws(images, resamples, [seed, kind])), axis=1)


def intervals_ood(ids: Scores, oods: Scores, resamples: int, seed: int) -> dict[str, list[float]]:
    """Return {metric: 95 % interval} of one detector on one OOD set, as a record has them."""
    values = resampled_ood({"d": ids}, {"d": oods}, resamples, seed)["d"]
    numbers = {name: metric(ids, oods) for name, metric in RESAMPLED.items()}
    resamples_of = {arrays_key("set", "d", name): each for name, each in values.items()}
    return intervals({"ood": {"set": {"d": numbers}}}, resamples_of)["ood"]["set"]["d"]


def intervals_id(log_probs: Scores, labels: NDArray, resamples: int, seed: int) -> dict[str, list[float]]:
    """Return {metric: 95 % interval} of the ID images, as a record has them."""
    numbers = {name: metric(log_probs, labels) for name, metric in ID_METRICS.items()}
    return intervals(numbers | {"ood": {}}, resampled_id(log_probs, labels, resamples, seed))


def test_every_image_of_a_resample_is_equally_likely() -> None:
    counts = drawn(50, 4000)
    assert counts.shape == (50, 4000)
    assert (counts.sum(0) == 50).all()
    table = np.bincount(counts.ravel().astype(int), minlength=8)[:6]
    expected = 200_000 * stats.binom.pmf(np.arange(6), 50, 1 / 50)
    assert (abs(table - expected) < 5 * np.sqrt(expected)).all()
    assert counts.mean(1) == pytest.approx(1, abs=5 / 4000**0.5)


def test_draws_are_pinned() -> None:
    """Resamples of new runs are paired with committed ones: seed 0, ID and OOD images drawn apart."""
    random = [np.random.default_rng([0, kind]) for kind in (0, 1)]
    ids, oods = ([np.bincount(each.integers(5, size=5), minlength=5) for _ in range(3)] for each in random)
    assert drawn(5, 3).T.tolist() == [row.tolist() for row in ids]
    assert drawn(5, 3, kind=1).T.tolist() == [row.tolist() for row in oods]
    assert drawn(5, 3).tolist() != drawn(5, 3, kind=1).tolist()
    scores = {"d": np.arange(20.0)}
    explicit = resampled_ood(scores, {"d": np.arange(20.0) + 5}, 50, seed=0)["d"]
    assert (resampled_ood(scores, {"d": np.arange(20.0) + 5}, 50)["d"]["auroc"] == explicit["auroc"]).all()


def test_sets_of_one_size_are_drawn_apart() -> None:
    """Were image i of both sets drawn together, sorted scores would have half of the deviation."""
    random = np.random.default_rng(4)
    ids, oods = np.sort(random.normal(size=500)), np.sort(random.normal(1, size=500))
    values = resampled_ood({"d": ids}, {"d": oods}, 1000)["d"]["auroc"]
    below = (ids[:, None] < oods).astype(float)
    variance = below.mean(1).var(ddof=1) / 500 + below.mean(0).var(ddof=1) / 500  # DeLong et al., 1988
    assert values.std() == pytest.approx(variance**0.5, rel=0.1)


def test_what_is_drawn_depends_on_no_block_and_no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    ids, oods = {"a": random.normal(size=40)}, {"a": random.normal(size=30)}
    once = resampled_ood(ids, oods, 20, 5)["a"]
    monkeypatch.setattr(bootstrap, "BLOCK", 7)
    again = resampled_ood({"z": -ids["a"], **ids}, {"z": oods["a"], **oods}, 20, 5)["a"]
    assert all((once[name] == again[name]).all() for name in RESAMPLED)
    other = resampled_ood(ids, oods, 20, 6)["a"]
    assert not (once["auroc"] == other["auroc"]).all()


def test_id_images_are_the_same_for_ood_sets_and_accuracy() -> None:
    """With one OOD image at 0, FPR@95 with OOD positive is the share of ID above 0."""
    correct = np.random.default_rng(0).random(60) < 0.7
    ids = np.where(correct, -1.0, 1.0)
    shares = resampled_ood({"a": ids}, {"a": np.zeros(1)}, 50, 2)["a"]["fpr95_oodpos"]
    log_probs = np.log(np.where(correct[:, None], [0.9, 0.1], [0.1, 0.9]))
    accuracy = resampled_id(log_probs, np.zeros(60, int), 50, 2)["accuracy"]
    assert accuracy == pytest.approx(1 - shares, abs=1e-12)


def test_resampled_id_metrics_are_those_of_repeated_images() -> None:
    random = np.random.default_rng(1)
    z = 2 * random.normal(size=(300, 4))
    log_probs, labels = z - np.logaddexp.reduce(z, axis=1, keepdims=True), random.integers(4, size=300)
    values, counts = resampled_id(log_probs, labels, 10, 7), drawn(300, 10, 7)
    for r in range(10):
        p, y = np.repeat(log_probs, counts[:, r], axis=0), np.repeat(labels, counts[:, r])
        assert values.keys() >= {"accuracy", "ece", "nll", "brier"}
        for name, of_resamples in values.items():
            assert of_resamples[r] == pytest.approx(ID_METRICS[name](p, y), abs=1e-12), name


def test_every_interval_is_that_of_its_record() -> None:
    random = np.random.default_rng(1)
    z = random.normal(size=(200, 4))
    log_probs, labels = z - np.logaddexp.reduce(z, axis=1, keepdims=True), random.integers(4, size=200)
    found, values = intervals_id(log_probs, labels, 100, 3), resampled_id(log_probs, labels, 100, 3)
    assert found["ece"] == list(ID_METRICS["ece"].interval(ID_METRICS["ece"](log_probs, labels), values["ece"]))
    assert found["nll"] == list(percentile_interval(values["nll"]))


def test_every_metric_has_an_interval_around_its_value() -> None:
    random = np.random.default_rng(0)
    ids, oods = random.normal(size=300), random.normal(1, size=200)
    found = intervals_ood(ids, oods, 200, 0)
    assert found.keys() == RESAMPLED.keys()
    for metric, (low, high) in found.items():
        assert low < OOD_METRICS[metric](ids, oods) < high


def test_an_interval_of_perfect_scores_is_a_point() -> None:
    found = intervals_ood(np.arange(5.0), np.arange(10.0, 14), 50, 0)
    names = ("auroc", "fpr95_idpos", "fpr95_oodpos", "aupr_in", "aupr_out")
    assert [found[name] for name in names] == [[1, 1], [0, 0], [0, 0], [1, 1], [1, 1]]


def test_mistakes_name_the_detector() -> None:
    good, spoilt = np.arange(3.0), np.array([0, np.nan, 1])
    with pytest.raises(ValueError, match=r"detector b: OOD scores: 1 of 3 are not finite"):
        resampled_ood({"a": good, "b": good}, {"a": good, "b": spoilt}, 10, 0)
    with pytest.raises(ValueError, match=r"\{'a': 3, 'b': 2\}"):
        resampled_ood({"a": good, "b": good[:2]}, {"a": good, "b": good}, 10, 0)


# ---- intervals on data whose truth is known: 95 % of them hold it


def holds_95_percent(hits: list[bool]) -> bool:
    """Within 3.5 standard errors of a binomial, and one point for the percentile interval's own error at this size"""
    return abs(float(np.mean(hits)) - 0.95) < 3.5 * (0.95 * 0.05 / len(hits)) ** 0.5 + 0.01


def binormal(simulations: int) -> Iterator[tuple[Scores, Scores]]:
    random = np.random.default_rng(11)
    for _ in range(simulations):
        yield random.normal(size=200), random.normal(1.2, 1, size=150)


@pytest.mark.slow
def test_intervals_of_auroc_and_fpr_hold_the_truth() -> None:
    truth = {
        "auroc": stats.norm.cdf(1.2 / 2**0.5),
        "fpr95_idpos": stats.norm.cdf(stats.norm.ppf(0.95) - 1.2),
        "fpr95_oodpos": stats.norm.sf(stats.norm.ppf(0.05) + 1.2),
    }
    hits: dict[str, list[bool]] = {name: [] for name in truth}
    for seed, (ids, oods) in enumerate(binormal(400)):
        found = intervals_ood(ids, oods, 400, seed)
        for name, value in truth.items():
            hits[name].append(found[name][0] <= value <= found[name][1])
    assert all(holds_95_percent(hit) for hit in hits.values()), {name: np.mean(hit) for name, hit in hits.items()}


@pytest.mark.slow
def test_intervals_of_accuracy_and_nll_hold_the_truth() -> None:
    random, right = np.random.default_rng(12), np.log([0.8, 0.2])
    hits: dict[str, list[bool]] = {"accuracy": [], "nll": []}
    for seed in range(400):
        labels = (random.random(400) > 0.7).astype(np.int64)
        found = intervals_id(np.tile(right, (400, 1)), labels, 400, seed)
        for name, value in {"accuracy": 0.7, "nll": -0.7 * right[0] - 0.3 * right[1]}.items():
            hits[name].append(found[name][0] <= value <= found[name][1])
    assert all(holds_95_percent(hit) for hit in hits.values()), {name: np.mean(hit) for name, hit in hits.items()}


@pytest.mark.slow
def test_intervals_of_ece_differences_hold_the_truth() -> None:
    """Of a network whose confidence is .01 too high and one .06 too high, on the same images; 400 sets of 4,000."""
    random, ece = np.random.default_rng(13), ID_METRICS["ece"]
    hits: dict[str, list[bool]] = {"resampled": [], "corrected": []}
    for seed in range(400):
        confidence, draws = random.uniform(0.6, 0.98, 4000), random.random(4000)
        log_probs = np.log(np.stack([confidence, 1 - confidence], 1))
        labels = [(draws > confidence - gap).astype(np.int64) for gap in (0.01, 0.06)]
        a, b = [(ece(log_probs, y), resampled_id(log_probs, y, 400, seed)["ece"]) for y in labels]
        differences = {"resampled": b[1] - a[1], "corrected": ece.corrected(*b) - ece.corrected(*a)}
        for name, values in differences.items():
            low, high = percentile_interval(values)
            hits[name].append(low <= 0.05 <= high)
    assert holds_95_percent(hits["corrected"]), np.mean(hits["corrected"])
    assert np.mean(hits["resampled"]) < 0.8
