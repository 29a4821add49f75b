import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fpbench.stats import clopper_pearson, mean, rate, upper_bound


def reference_rate(hits, trials, level):
    copies, n, p = len(hits), sum(trials), sum(hits) / sum(trials)
    squares = sum((x - p * m) ** 2 for x, m in zip(hits, trials, strict=True))
    variance = squares * copies / (copies - 1) / n**2
    quantile = 1 - (1 - level) / 2
    effective = p * (1 - p) / variance
    effective *= (stats.t.ppf(quantile, n - 1) / stats.t.ppf(quantile, copies - 1)) ** 2
    effective = min(effective, n)
    x = p * effective
    return (
        stats.beta.ppf(1 - quantile, x, effective - x + 1),
        stats.beta.ppf(quantile, x + 1, effective - x),
    )


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


def test_four_copies_all_right_is_not_a_claim():
    found = rate([25, 25, 25, 25], [25, 25, 25, 25])
    assert (round(found.low, 2), found.high, found.value) == (0.40, 1.0, 1.0)
    assert (found.rule, found.n, found.clusters) == ("korn-graubard", 100, 4)


def test_copies_that_are_all_alike_count_as_one_trial_each():
    expected = clopper_pearson(5, 10)
    found = rate([9] * 10, [18] * 10)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_rounding_noise_between_equal_copies_does_not_count_as_spread():
    noisy = rate([0.1 * 3 * 10, 3.0, 3.0, 30 * 0.1], [10] * 4)
    exact = rate([3, 3, 3, 3], [10] * 4)
    assert (noisy.low, noisy.high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_expected_successes_that_are_almost_all_right_are_no_surer_than_all_right():
    whole = rate([1000] * 4, [1000] * 4)
    almost = rate([1000 - 1e-6, 1000 - 2e-6, 1000 - 1e-6, 1000], [1000] * 4)
    assert almost.low == pytest.approx(whole.low, abs=1e-6)
    assert almost.high <= 1


def test_one_copy_counts_as_one_trial():
    expected = clopper_pearson(1, 1)
    found = rate([40], [40])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


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
    p = sum(hits) / sum(trials)
    if max(abs(x - p * m) for x, m in data) < 1e-9:
        return
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


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_rate_covers_the_truth_with_correlated_images(p):
    rng = np.random.default_rng(11)
    trials = np.full(30, 18)
    found = [rate(beta_binomial(rng, p, 0.05, 30, 18), trials) for _ in range(400)]
    assert np.mean([interval.low <= p <= interval.high for interval in found]) >= 0.91


def test_mean_agrees_with_scipy():
    values = np.random.default_rng(0).normal(20, 3, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    found = mean(values, 0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.rule, found.n, found.clusters) == ("t-copies", 12, 12)


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
        lambda: mean([]),
        lambda: mean([1.0, math.inf]),
    ],
)
def test_empty_or_impossible_counts_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()
