import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fpbench.stats import (
    Interval,
    clopper_pearson,
    jackknife,
    mean,
    mover,
    rate,
    upper_bound,
)


def reference_rate(hits, trials, level):
    """The rule written as a loop over copies, without numpy."""
    copies, n, p = len(hits), sum(trials), sum(hits) / sum(trials)
    quantile = 1 - (1 - level) / 2
    correction = 1
    if copies > 1:
        correction = (stats.t.ppf(quantile, n - 1) / stats.t.ppf(quantile, copies - 1)) ** 2
    rarer = [m - x if p >= 0.5 else x for x, m in zip(hits, trials, strict=True)]
    assumed = 0.15 * max(0, 1 - sum(r >= 1 for r in rarer) / 40)
    size = sum(m * m for m in trials) / n
    counts = [n, n / (1 + (size - 1) * assumed) * min(1, correction)]
    squares = sum((x - p * m) ** 2 for x, m in zip(hits, trials, strict=True))
    if squares > 1e-9:
        variance = squares * copies / (copies - 1) / n**2
        counts.append(p * (1 - p) / variance * correction)
    effective = min(counts)
    x = p * effective
    low = stats.beta.ppf(1 - quantile, x, effective - x + 1) if x > 0 else 0
    high = stats.beta.ppf(quantile, x + 1, effective - x) if x < effective else 1
    return low, high


def beta_binomial(rng, p, icc, copies, images):
    odds = (1 - icc) / icc
    return rng.binomial(images, rng.beta(p * odds, (1 - p) * odds, copies))


@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 1), (1, 1), (0, 30), (7, 30), (30, 30), (3, 5000)]
)
def test_exact_interval_agrees_with_scipy(successes, trials, level):
    expected = stats.binomtest(successes, trials).proportion_ci(level, method="exact")
    found = clopper_pearson(successes, trials, level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (found.rule, found.n, found.clusters) == ("clopper-pearson", trials, trials)


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (4, 5000), (9, 10_000), (10, 10)])
def test_upper_bound_agrees_with_scipy(successes, trials):
    test = stats.binomtest(successes, trials, alternative="less")
    expected = test.proportion_ci(0.95, method="exact").high
    assert upper_bound(successes, trials) == pytest.approx(expected, rel=1e-9)


def test_upper_bounds_equal_the_published_ones():
    found = [100 * upper_bound(x, n) for x, n in ((0, 1000), (4, 5000), (9, 10_000))]
    assert [round(percent, 2) for percent in found] == [0.30, 0.18, 0.16]


@pytest.mark.parametrize(("false_rate", "needed"), [(1e-2, 299), (1e-3, 2995), (1e-4, 29_956)])
def test_negatives_needed_for_a_false_rate_equal_the_published_ones(false_rate, needed):
    assert upper_bound(0, needed) <= false_rate < upper_bound(0, needed - 1)


@pytest.mark.parametrize(
    ("copies", "images", "failures", "low", "high"),
    [
        (30, 18, 0, 0.974, 1.0),
        (30, 18, 1, 0.971, 1.0),
        (30, 18, 2, 0.968, 1.0),
        (30, 18, 5, 0.960, 0.999),
        (4, 128, 0, 0.685, 1.0),
        (4, 128, 1, 0.688, 1.0),
        (4, 128, 4, 0.697, 1.0),
        (10, 18, 0, 0.909, 1.0),
        (10, 18, 5, 0.869, 0.999),
        (300, 100, 0, 0.998, 1.0),
    ],
)
def test_few_failures_give_the_limits_worked_out_beforehand(copies, images, failures, low, high):
    hits = np.full(copies, images)
    hits[:failures] -= 1
    found = rate(hits, np.full(copies, images))
    assert (round(found.low, 3), round(found.high, 3)) == (low, high)
    assert (found.rule, found.n, found.clusters) == (
        "korn-graubard, bounded",
        copies * images,
        copies,
    )


@pytest.mark.parametrize(("copies", "images"), [(30, 18), (16, 32), (300, 100), (10, 18), (4, 128)])
@pytest.mark.parametrize("spread", [1, 3, 1000], ids=["apart", "in threes", "together"])
def test_one_more_failure_hardly_ever_raises_the_lower_limit(copies, images, spread):
    hits, lows = np.full(copies, images), []
    for failure in range(60):
        lows.append(rate(hits, np.full(copies, images)).low)
        place = failure // spread % copies
        hits[place] = max(hits[place] - 1, 0)
    assert np.diff(lows).max() <= 0.005


def test_where_copies_tell_enough_nothing_is_assumed():
    rng = np.random.default_rng(4)
    hits, trials = beta_binomial(rng, 0.9, 0.1, 60, 20), np.full(60, 20)
    assert (hits < 20).sum() >= 40
    n, p = trials.sum(), hits.sum() / trials.sum()
    variance = 60 / 59 * ((hits - p * trials) ** 2).sum() / n**2
    correction = (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, 59)) ** 2
    x = p * (effective := p * (1 - p) / variance * correction)
    expected = stats.beta.ppf(0.025, x, effective - x + 1)
    assert rate(hits, trials).low == pytest.approx(expected)


def test_rounding_noise_between_equal_copies_does_not_count_as_spread():
    noisy = rate([0.1 * 3 * 10, 3.0, 3.0, 30 * 0.1], [10] * 4)
    exact = rate([3, 3, 3, 3], [10] * 4)
    assert (noisy.low, noisy.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_expected_successes_that_are_almost_all_right_are_no_surer_than_all_right():
    whole = rate([1000] * 4, [1000] * 4)
    almost = rate([1000 - 1e-6, 1000 - 2e-6, 1000 - 1e-6, 1000], [1000] * 4)
    assert almost.low == pytest.approx(whole.low, abs=1e-6)
    assert almost.high <= 1


def test_one_copy_is_worth_what_its_assumed_likeness_leaves():
    expected = 40 / (1 + 39 * 0.15)
    assert rate([40], [40]).low == pytest.approx(stats.beta.ppf(0.025, expected, 1))


@given(
    data=st.lists(
        st.integers(1, 40).flatmap(lambda m: st.tuples(st.integers(0, m), st.just(m))),
        min_size=2,
        max_size=12,
    ),
    level=st.sampled_from([0.8, 0.95, 0.99]),
)
@settings(max_examples=100, deadline=None)
def test_rate_equals_the_formula_written_as_a_loop(data, level):
    hits, trials = zip(*data, strict=True)
    found = rate(hits, trials, level)
    assert (found.low, found.high) == pytest.approx(reference_rate(hits, trials, level), rel=1e-6)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_independent_images_in_many_copies_give_nearly_the_exact_interval():
    rng = np.random.default_rng(3)
    hits = rng.binomial(5, 0.6, 2000)
    expected = clopper_pearson(int(hits.sum()), 10_000)
    found = rate(hits, np.full(2000, 5))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)


def test_images_that_agree_within_copies_widen_the_interval():
    alone = rate([1] * 10 + [0] * 10, [1] * 20)
    cloned = rate([30] * 10 + [0] * 10, [30] * 20)
    assert (cloned.low, cloned.high) == pytest.approx((alone.low, alone.high), abs=0.02)
    assert cloned.high - cloned.low > 0.4


def test_mean_agrees_with_scipy():
    values = np.random.default_rng(0).normal(20, 3, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.rule, found.n, found.clusters) == ("t-copies", 12, 12)


def test_copies_that_are_all_right_are_no_proof_of_a_rate_of_one():
    found = mean([1.0] * 30, trials=[18 * 32] * 30)
    n, size = 30 * 18 * 32, 18 * 32
    shrunk = (n + 1) / (n + 2)
    variance = shrunk * (1 - shrunk) * (1 + (size - 1) * 0.15) / n
    assert found.low == pytest.approx(1 - stats.t.ppf(0.975, 29) * np.sqrt(variance))
    assert found.high == 1
    # Without counts nothing is known of them.
    assert mean([1.0] * 30).low == 1


def test_a_floor_below_the_spread_of_copies_changes_nothing():
    values = np.random.default_rng(1).uniform(0.2, 0.8, 50)
    assert mean(values, trials=[400] * 50).low == pytest.approx(mean(values).low)


def test_mover_of_independent_rates_and_of_one_rate_written_twice():
    one, other = rate([9] * 30, [18] * 30), rate([17] * 30, [18] * 30)
    apart = mover([one, other], np.eye(2))
    assert apart.value == pytest.approx((one.value + other.value) / 2)
    below = math.hypot(one.value - one.low, other.value - other.low) / 2
    assert apart.low == pytest.approx(apart.value - below)
    twice = mover([one, one], np.ones((2, 2)))
    assert (twice.low, twice.high) == (pytest.approx(one.low), pytest.approx(one.high))


def test_mover_covers_the_mean_of_rates_of_the_same_copies():
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        shared = np.clip(rng.normal(0.8, 0.05, 30), 0, 1)
        parts = [rng.binomial(18, np.clip(shared - d, 0, 1)) for d in (0.0, 0.2, 0.6)]
        rows = [rate(hits, [18] * 30) for hits in parts]
        found = mover(rows, np.clip(np.corrcoef(parts), 0, 1))
        held += found.low <= 0.8 - 0.8 / 3 <= found.high
    assert held / 300 >= 0.93 - 2 * math.sqrt(0.93 * 0.07 / 300)


def test_jackknife_of_a_mean_is_the_t_interval():
    values = np.random.default_rng(2).normal(3, 1, 12)
    without = [np.delete(values, copy).mean() for copy in range(12)]
    found, expected = jackknife(values.mean(), without), mean(values)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert math.isnan(jackknife(1.0, [1.0]).low)
    assert isinstance(found, Interval)


def test_mean_of_one_copy_has_no_interval():
    found = mean([3.5])
    assert found.value == 3.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(0, 0),
        lambda: clopper_pearson(3, 2),
        lambda: upper_bound(-1, 2),
        lambda: upper_bound(1, 2, 1.0),
        lambda: rate([], []),
        lambda: rate([1], [1, 2]),
        lambda: rate([1], [0]),
        lambda: rate([1.0], [1.5]),
        lambda: rate([3], [2]),
        lambda: rate([math.nan], [2]),
        lambda: mover([], np.zeros((0, 0))),
        lambda: mean([]),
        lambda: mean([1.0, math.inf]),
    ],
)
def test_empty_or_impossible_counts_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()
