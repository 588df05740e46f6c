"""Spread, comparisons and corrections: by hand, by brute force, and on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import special, stats

from oodbench.evaluation.bootstrap import resampled_id
from oodbench.evaluation.significance import (
    LOG_SMALLEST_P,
    Comparison,
    beyond_resamples,
    compare,
    holm,
    indistinguishable_from_best,
    over_seeds,
    paired_bootstrap,
    paired_over_seeds,
)

Array = NDArray[np.float64]


def near(share: float, expected: float, simulations: int, slack: float = 0.0) -> bool:
    """Within 3.5 standard errors of a binomial"""
    return abs(share - expected) < 3.5 * (expected * (1 - expected) / simulations) ** 0.5 + slack


# ---- over seeds


def t_half_width(values: list[float]) -> float:
    """t_{.975, S-1} s / sqrt(S), by scipy"""
    low, high = stats.ttest_1samp(values, 0).confidence_interval()
    return float(high - low) / 2


def test_over_seeds_by_hand() -> None:
    spread = over_seeds(np.array([1.0, 2.0, 3.0]))
    assert spread[:3] == (2, 1, 3)
    half = 4.302653 / 3**0.5 / 2  # on the scale of log, whose slope at 2 is 1/2
    assert spread.interval == pytest.approx((2 * np.exp(-half), 2 * np.exp(half)), rel=1e-6)
    shares = over_seeds(np.array([0.90, 0.92, 0.97]), 1)
    half = 4.302653 * 0.0360555 / 3**0.5 / (0.93 * 0.07)  # of logit, 1 / m (1 - m)
    assert shares.interval == pytest.approx(
        tuple(special.expit(special.logit(0.93) + np.array([-half, half]))), rel=1e-5
    )
    assert over_seeds(np.array([0.5])) == (0.5, None, 1, None)


@settings(deadline=None)  # a busy machine's first call takes longer
@given(st.lists(st.floats(0.001, 0.999), min_size=2, max_size=10))
def test_on_the_logit_scale_it_is_the_t_interval(values: list[float]) -> None:
    spread = over_seeds(np.array(values), 1)
    assert spread.deviation == pytest.approx(np.std(values, ddof=1))
    assert spread.interval is not None
    if np.std(values) > 1e-6:
        m = spread.mean
        ends = special.logit(m) + np.array([-1, 1]) * t_half_width(values) / (m * (1 - m))
        assert spread.interval == pytest.approx(tuple(special.expit(ends)), abs=1e-9)
    else:
        assert spread.interval == pytest.approx((spread.mean, spread.mean), abs=1e-4)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=10), st.sampled_from([1.0, 2.0, np.inf]))
def test_the_interval_is_in_the_range_and_holds_the_mean(values: list[float], largest: float) -> None:
    spread = over_seeds(np.array(values), largest)
    assert spread.interval is not None
    low, high = spread.interval
    assert 0 <= low <= spread.mean + 1e-12
    assert spread.mean - 1e-12 <= high <= largest


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_seeds_that_do_not_vary_are_a_point(value: float) -> None:
    assert over_seeds(np.full(3, value), 1) == (value, 0, 3, (value, value))


def test_a_seed_at_the_end_of_the_range_is_no_special_case() -> None:
    interval = over_seeds(np.array([1.0, 1.0, 0.9]), 1).interval
    assert interval is not None
    assert 0 < interval[0] < 0.9
    assert 0.99 < interval[1] < 1


def test_seeds_that_hardly_vary_have_the_plain_t_interval() -> None:
    values = [0.9300, 0.9302, 0.9301]
    low, high = over_seeds(np.array(values), 1).interval or (0, 0)
    assert (low, high) == pytest.approx((0.9301 - t_half_width(values), 0.9301 + t_half_width(values)), abs=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mean", "deviation", "plain", "outside"),
    [(0.99, 0.01, (0.91, 0.89, 0.88), (0.92, 0.87, 0.55)), (0.93, 0.01, (0.95, 0.95, 0.95), (0.44, 0, 0))],
)
def test_coverage_over_seeds_is_as_documented(
    mean: float, deviation: float, plain: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    """Shares of a beta law, 2, 3 and 5 seeds: this interval holds the truth in 93.5 % at least."""
    random, simulations = np.random.default_rng(3), 4000
    size = mean * (1 - mean) / deviation**2 - 1
    for seeds, expected, leaving in zip((2, 3, 5), plain, outside, strict=True):
        draws = random.beta(mean * size, (1 - mean) * size, (simulations, seeds))
        found = [over_seeds(draw, 1).interval or (0, 0) for draw in draws]
        half = stats.t.ppf(0.975, seeds - 1) * draws.std(1, ddof=1) / seeds**0.5
        held = np.mean([low <= mean <= high for low, high in found])
        assert held > 0.935, (seeds, held)
        assert near(float(np.mean(abs(draws.mean(1) - mean) <= half)), expected, simulations, slack=0.005)
        assert near(float(np.mean(draws.mean(1) + half > 1)), leaving, simulations, slack=0.005)


# ---- comparisons


def test_paired_bootstrap_by_hand() -> None:
    values = np.concatenate([np.full(10, -1.0), np.arange(1.0, 990)])
    assert paired_bootstrap(5, values)[2:] == (22 / 1000, 1)
    assert paired_bootstrap(-5, -values)[2:] == (22 / 1000, 1)
    assert paired_bootstrap(5, np.arange(1.0, 1000)).p_value == 2 / 1000  # it cannot be smaller
    assert paired_bootstrap(0, np.zeros(99)) == (0, (0, 0), 1, 1)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=10, unique=True))
def test_without_image_variance_it_is_the_paired_t_test(values: list[float]) -> None:
    a, b = np.array(values), np.linspace(0, 0.1, len(values))
    found, expected = paired_over_seeds(a - b), stats.ttest_rel(a, b)
    if np.std(a - b) > 1e-6:
        assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)
        assert found.interval == pytest.approx(tuple(expected.confidence_interval()), rel=1e-6, abs=1e-9)


def test_half_widths_of_seeds_and_of_images_add_as_squares() -> None:
    differences, v = np.array([0.01, 0.02, 0.06]), 0.0003
    between = np.var(differences, ddof=1) / 3
    found = paired_over_seeds(differences, v)
    half = (4.302653**2 * between + 1.959964**2 * v) ** 0.5
    assert found.interval == pytest.approx((0.03 - half, 0.03 + half), rel=1e-6)
    tail = found.p_value / 2
    squares = stats.t.isf(tail, 2) ** 2 * between + stats.norm.isf(tail) ** 2 * v
    assert squares == pytest.approx(0.03**2)
    at_the_edge = paired_over_seeds(differences - 0.03 + half, v)  # the interval ends at 0
    assert at_the_edge.p_value == pytest.approx(0.05, rel=1e-6)


def test_seeds_that_do_not_vary_leave_the_images_normal_law() -> None:
    alike = paired_over_seeds(np.full(3, 0.03), 0.0003)
    assert alike.p_value == pytest.approx(2 * stats.norm.sf(0.03 / 0.0003**0.5))
    assert paired_over_seeds(np.zeros(3)) == (0, (0, 0), 1, 3)
    assert paired_over_seeds(np.ones(3)) == (1, (1, 1), pytest.approx(1e-30, rel=0.1), 3)


def test_compare_takes_the_test_of_the_number_of_seeds() -> None:
    random = np.random.default_rng(0)
    a, b = random.random(3), random.random(3)
    a_drawn, b_drawn = random.random((3, 50)), random.random((3, 50))
    assert compare(a[:1], b[:1], a_drawn[:1], b_drawn[:1]) == paired_bootstrap(a[0] - b[0], a_drawn[0] - b_drawn[0])
    variance = np.var((a_drawn - b_drawn).mean(0), ddof=1)
    assert compare(a, b, a_drawn, b_drawn) == paired_over_seeds(a - b, float(variance))


@pytest.mark.parametrize("shapes", [(3, 2, (3, 5), (2, 5)), (3, 3, (2, 5), (2, 5)), (3, 3, (3, 5), (3, 4))], ids=repr)
def test_compare_refuses_what_is_not_paired(shapes: tuple) -> None:
    with pytest.raises(ValueError, match="are needed"):
        compare(*map(np.zeros, shapes))


def test_one_seed_says_nothing_of_seeds() -> None:
    with pytest.raises(ValueError, match="one seed"):
        paired_over_seeds(np.array([0.1]))


@pytest.mark.slow
def test_networks_equally_good_differ_in_5_percent() -> None:
    """One seed, paired bootstrap of the accuracy on shared images, some hard for both."""
    random, simulations, rejected = np.random.default_rng(6), 400, 0
    labels, rows = np.zeros(400, dtype=np.int64), np.log([[0.8, 0.2], [0.2, 0.8]])
    for seed in range(simulations):
        hard = random.random(400) < 0.3
        a, b = (rows[(random.random(400) < np.where(hard, 0.5, 0.1)).astype(int)] for _ in range(2))
        drawn = [resampled_id(p, labels, 400, seed)["accuracy"] for p in (a, b)]
        value = np.mean(a.argmax(1) == 0) - np.mean(b.argmax(1) == 0)
        rejected += paired_bootstrap(float(value), drawn[0] - drawn[1]).p_value <= 0.05
    assert near(rejected / simulations, 0.05, simulations, slack=0.01), rejected / simulations


@pytest.mark.parametrize(
    ("seeds", "of_seed", "of_image"), [(2, 1.0, 0.5), (3, 1.0, 0.0), (3, 1.0, 0.5), (3, 0.5, 1.0), (5, 0.2, 1.0)]
)
def test_equally_good_losses_differ_in_5_percent_at_most(seeds: int, of_seed: float, of_image: float) -> None:
    """Differences = of the images, common to the seeds, + of each seed. The t-test alone sees too much."""
    random, simulations = np.random.default_rng(seeds), 800
    images = of_image * random.normal(size=(simulations, 1))
    differences = images + of_seed * random.normal(size=(simulations, seeds))
    rejected = np.mean([paired_over_seeds(d, of_image**2).p_value <= 0.05 for d in differences])
    assert rejected < 0.05 + 3.5 * (0.05 * 0.95 / simulations) ** 0.5, rejected
    assert rejected > 0.005, rejected
    if of_image >= 1:
        assert np.mean(stats.ttest_1samp(differences, 0, axis=1).pvalue <= 0.05) > 0.15


# ---- several comparisons


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.5])) == pytest.approx([1, 1])
    assert holm(np.array([0.02])) == pytest.approx([0.02])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    adjusted, m = holm(np.array(p_values)), len(p_values)
    rejected = set()
    for step, i in enumerate(np.argsort(p_values)):
        if p_values[i] * (m - step) > 0.05:
            break
        rejected.add(int(i))
    assert {i for i in range(m) if adjusted[i] <= 0.05} == rejected
    assert (adjusted >= p_values).all()


def test_holm_keeps_the_familywise_error_at_5_percent() -> None:
    """Six tests that share half of their variance, two of them of a true difference."""
    random, simulations = np.random.default_rng(8), 4000
    z = (random.normal(size=(simulations, 1)) + random.normal(size=(simulations, 6))) / 2**0.5
    z[:, 4:] += 4
    p_values = 2 * stats.norm.sf(abs(z))
    wrong = np.mean([(holm(p)[:4] <= 0.05).any() for p in p_values])
    assert 0.02 < wrong < 0.05 + 3.5 * (0.05 * 0.95 / simulations) ** 0.5, wrong


def rows(means: list[float], resamples: int, seeds: int = 1) -> tuple[dict[str, Array], dict[str, Array]]:
    random = np.random.default_rng(0)
    values = {str(i): np.full(seeds, mean) + 0.01 * random.normal(size=seeds) for i, mean in enumerate(means)}
    return values, {row: v[:, None] + 0.1 * random.normal(size=(seeds, resamples)) for row, v in values.items()}


@pytest.mark.parametrize("seeds", [1, 3])
def test_rows_close_to_the_best_follow_it(seeds: int) -> None:
    values, resampled = rows([5, 9, 8.95, 2], 500, seeds)
    assert indistinguishable_from_best(values, resampled, higher_is_better=True) == ["1", "2"]
    assert indistinguishable_from_best(values, resampled, higher_is_better=False) == ["3"]


def test_a_row_alone_is_the_best() -> None:
    assert indistinguishable_from_best(*rows([1], 1), higher_is_better=True) == ["0"]


def test_a_row_on_the_wrong_side_of_its_interval_is_not_called_worse() -> None:
    """b is below a, but above it in every resample, as it can be where resampling adds to one of the two alone."""
    values = {"a": np.array([0.9]), "b": np.array([0.89])}
    resampled = {"a": np.full((1, 1000), 0.9), "b": np.linspace(0.91, 0.93, 1000)[None]}
    assert indistinguishable_from_best(values, resampled, higher_is_better=True) == ["a", "b"]
    assert not Comparison(0.01, (-0.03, -0.01), 0.001, 1).is_consistent
    assert not Comparison(0.01, (-0.01, 0.03), 0.3, 1).is_consistent
    assert Comparison(-0.02, (-0.03, -0.01), 0.001, 1).is_consistent


def test_the_normal_tail_begins_where_no_resample_crosses_0() -> None:
    """d = 5 deviations: p = 2 P(Z > 5) = 5.73e-7, which 1,000 resamples cannot show; where some cross 0, no change."""
    noise = np.tile([-1.0, 1.0], 500) * (999 / 1000) ** 0.5  # of sample deviation 1

    def both(difference: float, spread: float = 1.0) -> list[float]:
        a, b, zeros = np.array([difference]), np.array([0.0]), np.zeros((1, 1000))
        resampled = difference + spread * noise[None]
        return [test.p_value for test in (paired_bootstrap(difference, resampled[0]), compare(a, b, resampled, zeros))]

    assert both(5.0) == pytest.approx([2 / 1001, 5.733e-7], rel=1e-3)
    assert both(-5.0) == both(5.0)
    assert both(0.5) == pytest.approx([1, 1])
    assert both(1.0, spread=0.0) == pytest.approx([2 / 1001, np.exp(LOG_SMALLEST_P)])
    few = 1 + np.array([-0.99, 0.99] * 5)  # none crosses 0, and the normal p is .34: that of the resamples stays
    weak = paired_bootstrap(1.0, few)
    assert beyond_resamples(weak, few) == weak


def test_the_normal_tail_lets_few_resamples_serve_many_rows() -> None:
    values, resampled = rows([9, *[5] * 40], 1000)
    assert indistinguishable_from_best(values, resampled, higher_is_better=True) == ["0"]


def test_the_truly_best_row_is_missing_in_under_5_percent() -> None:
    random, simulations, missing, any_worse = np.random.default_rng(9), 800, 0, 0
    for _ in range(simulations):
        values = {str(i): random.normal(size=1) for i in range(6)}
        resampled = {row: v[:, None] + random.normal(size=(1, 1000)) for row, v in values.items()}
        kept = indistinguishable_from_best(values, resampled, higher_is_better=True)
        missing, any_worse = missing + ("0" not in kept), any_worse + (len(kept) < 6)
    assert missing / simulations < 0.05, missing / simulations
    assert near(any_worse / simulations, 0.11, simulations), any_worse / simulations  # as the docstring says
