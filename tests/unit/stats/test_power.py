import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fpbench.stats import (
    binomial_excess,
    calibrated_threshold,
    copies_needed,
    detectable,
    excess_power,
    negatives_needed,
    upper_bound,
)


def noncentral_power(difference, rate, correlation, images, copies, level=0.05, pairing=0.0):
    """The definition, by scipy's distribution object."""
    factor = correlation + (1 - correlation) / images
    other = rate - difference
    a, b = rate * (1 - rate) * factor, other * (1 - other) * factor
    delta = difference / math.sqrt((a + b - 2 * pairing * math.sqrt(a * b)) / copies)
    t = stats.t.ppf(1 - level / 2, copies - 1)
    return stats.nct.sf(t, copies - 1, delta) + stats.nct.cdf(-t, copies - 1, delta)


CASES = [
    (0.02, 0.9, 0.05, 18, 0.0),
    (0.02, 0.5, 0.05, 100, 0.0),
    (0.1, 0.98, 0.2, 32, 0.5),
    (0.3, 0.9, 0.0, 4, -0.3),
    (0.05, 0.9, 1.0, 1000, 0.9),
]


@pytest.mark.parametrize("case", CASES)
def test_copies_are_the_fewest_that_reach_the_power(case):
    difference, rate, correlation, images, pairing = case
    found = copies_needed(difference, rate, correlation, images, pairing=pairing)
    parts = (difference, rate, correlation, images)
    assert noncentral_power(*parts, found, pairing=pairing) >= 0.8
    assert noncentral_power(*parts, found - 1, pairing=pairing) < 0.8


def test_many_copies_approach_the_formula_of_the_normal_distribution():
    factor = 0.05 + 0.95 / 18
    variance = (0.9 * 0.1 + 0.88 * 0.12) * factor
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    normal = z**2 * variance / 0.02**2
    # t needs about z(1 - level/2)^2 / 2 copies more (Guenther 1981).
    assert copies_needed(0.02, 0.9, 0.05, 18) == math.ceil(normal + 1.96**2 / 2)


def found_by_test(a, b):
    """Share of rows (runs, copies) whose difference the paired t test finds."""
    return np.mean(stats.ttest_rel(a, b, axis=1).pvalue <= 0.05)


@pytest.mark.parametrize(
    ("difference", "rate", "correlation", "images"),
    [(0.05, 0.9, 0.05, 18), (0.1, 0.5, 0.1, 32), (0.1, 0.8, 0.3, 100)],
)
def test_simulated_methods_are_told_apart_as_often_as_promised(
    difference, rate, correlation, images
):
    rng = np.random.default_rng(3)
    copies = copies_needed(difference, rate, correlation, images)

    def rates(p):
        # Beta-binomial: two images of a copy have exactly the asked correlation.
        size = 1 / correlation - 1
        return rng.binomial(images, rng.beta(p * size, (1 - p) * size, (4000, copies))) / images

    a, b = rates(rate), rates(rate - difference)
    variance = rate * (1 - rate) * (correlation + (1 - correlation) / images)
    assert a.var() == pytest.approx(variance, rel=0.05)
    # Three standard errors of 4000 trials are .019; the rest is that rates are not normal.
    assert abs(found_by_test(a, b) - 0.8) < 0.03


@pytest.mark.parametrize("pairing", [-0.4, 0.5, 0.9])
def test_simulated_pairs_are_told_apart_as_often_as_promised(pairing):
    rng = np.random.default_rng(4)
    copies = copies_needed(0.04, 0.9, 0.3, 30, pairing=pairing)
    factor = 0.3 + 0.7 / 30
    a, b = math.sqrt(0.9 * 0.1 * factor), math.sqrt(0.86 * 0.14 * factor)
    covariance = [[a * a, pairing * a * b], [pairing * a * b, b * b]]
    drawn = rng.multivariate_normal([0.9, 0.86], covariance, (4000, copies))
    assert abs(found_by_test(drawn[..., 0], drawn[..., 1]) - 0.8) < 0.03


@given(
    copies=st.integers(2, 300),
    images=st.integers(1, 300),
    rate=st.floats(0.05, 1),
    correlation=st.floats(0, 1),
)
@settings(max_examples=40, deadline=None)
def test_what_can_be_detected_needs_as_many_copies_as_there_are(copies, images, rate, correlation):
    smallest = detectable(copies, images, rate, correlation)
    if smallest is None:
        assert copies_needed(rate, rate, correlation, images) > copies
        return
    assert copies_needed(smallest, rate, correlation, images) <= copies
    less = smallest * (1 - 1e-5)
    assert copies_needed(less, rate, correlation, images) > copies


def test_more_of_everything_finds_less():
    base = detectable(30, 18, 0.9, 0.05)
    assert detectable(60, 18, 0.9, 0.05) < base
    assert detectable(30, 100, 0.9, 0.05) < base
    assert detectable(30, 18, 0.9, 0.01) < base
    assert detectable(30, 18, 0.9, 0.05, pairing=0.5) < base
    assert detectable(30, 18, 0.9, 0.05, power=0.9) > base
    assert detectable(30, 18, 0.9, 0.05, level=0.01) > base


def test_two_copies_may_find_nothing():
    assert detectable(2, 1, 0.1, 0.0) is None


def test_difference_without_noise_needs_two_copies():
    assert copies_needed(1.0, 1.0, 0.05, 18) == 2


@pytest.mark.parametrize(
    ("false_rate", "images"), [(1e-2, 300), (1e-3, 3000), (1e-4, 30_000), (0.5, 6), (0.29, 11)]
)
def test_negatives_needed_bound_the_rate_and_calibrate_a_threshold(false_rate, images):
    assert negatives_needed(false_rate) == images
    assert upper_bound(0, images) <= false_rate
    scores = np.arange(images)
    assert calibrated_threshold(scores, false_rate) is not None
    assert calibrated_threshold(scores[1:], false_rate) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: copies_needed(0, 0.9, 0.05, 18), "0 < difference <= rate, got 0"),
        (lambda: copies_needed(0.6, 0.5, 0.05, 18), "0 < difference <= rate, got 0.6"),
        (lambda: copies_needed(0.1, 1.5, 0.05, 18), "0 < rate <= 1"),
        (lambda: copies_needed(0.1, 0.9, 2, 18), "0 <= correlation <= 1"),
        (lambda: copies_needed(0.1, 0.9, 0.05, 0), "images >= 1"),
        (lambda: copies_needed(0.1, 0.9, 0.05, 18, power=0.01), "level < power"),
        (lambda: copies_needed(0.1, 0.9, 0.05, 18, pairing=2), "pairing <= 1"),
        (lambda: detectable(1, 18, 0.9, 0.05), "at least 2 copies, got 1"),
        (lambda: detectable(30, 18, 0, 0.05), "0 < rate <= 1"),
        (lambda: negatives_needed(0), "0 < false_rate < 1"),
    ],
)
def test_what_is_out_of_range_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("images", "power"),
    [(1000, (0.18, 0.55, 0.93)), (3000, (0.44, 0.93, 1.0)), (10_000, (0.95, 1.0, 1.0))],
)
def test_an_excess_is_seen_with_the_power_worked_out_beforehand(images, power):
    found = [excess_power(images, 2.895e-4, factor, 0.05 / 9) for factor in (5, 10, 20)]
    assert [round(p, 2) for p in found] == list(power)


def test_excess_is_the_tail_of_the_binomial():
    assert binomial_excess(2, 1000, 2.895e-4) == pytest.approx(0.035, abs=5e-4)
    assert binomial_excess(0, 1000, 0.1) == 1
    with pytest.raises(ValueError, match="expected"):
        binomial_excess(3, 2, 0.1)
