import math
from functools import partial

import numpy as np
import pytest
import simulated_truth as truth
from scipy import stats as scipy_stats
from sklearn.metrics import roc_curve

from fpbench.stats import calibrated_threshold, null_bits

# The least share of 95 % intervals that must hold the truth (design.md, section 5).
BAR = 0.93
WORLDS = [
    (design, p, correlation)
    for design in truth.DESIGNS
    for p in (0.5, 0.9, 0.98, 0.995, 0.999, 1.0)
    for correlation in (0, 0.05, 0.2)
]
CASES = [(1, 1e-2), (1, 1e-3), (100, 1e-2), (100, 1e-3)]


def share(rule, copies, p, correlation, repeats):
    return truth.coverage(rule, p, correlation, copies, 32, repeats, seed=1).share


@pytest.mark.parametrize(("design", "p", "correlation"), WORLDS)
def test_rate_holds_the_truth_of_correlated_images(design, p, correlation):
    found = truth.coverage(truth.bounded, p, correlation, *design, 400, seed=1).share
    assert found >= BAR - 2 * math.sqrt(BAR * (1 - BAR) / 400)


def test_copies_without_a_failure_are_no_reason_for_a_wider_interval_than_copies_with_some():
    widths = [
        truth.coverage(truth.bounded, p, 0.05, 30, 18, 400, seed=1).width
        for p in (0.98, 0.995, 0.999, 1.0)
    ]
    assert widths == sorted(widths, reverse=True)
    old = truth.coverage(truth.korn_graubard, 1.0, 0, 30, 18, 2, seed=1).width
    assert old > 4 * widths[-1]


def test_rate_holds_the_truth_where_it_is_hardest_to_hold():
    assert share(truth.bounded, 16, 0.98, 0.2, 5000) >= BAR


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_intervals_of_images_taken_as_independent_do_not_hold_it(p):
    assert share(truth.clopper_pearson, 30, p, 0.05, 500) < 0.87


def test_bootstrap_and_t_over_few_copies_do_not_hold_a_rate_near_one():
    assert share(truth.bootstrap, 16, 0.98, 0.05, 1000) < 0.9
    assert share(truth.student, 16, 0.98, 0.05, 2000) < 0.91


@pytest.fixture(scope="module")
def errors():
    rng = np.random.default_rng(7)
    worlds = {
        "fair": truth.fair_bits(rng, 2000, truth.BITS),
        "leaning": truth.leaning_bits(rng, 2000, truth.BITS, shared=0.0),
        "correlated": truth.leaning_bits(rng, 2000, truth.BITS),
    }
    assert null_bits(worlds["correlated"]).effective_bits < truth.BITS / 2
    assert np.allclose(worlds["correlated"].mean(axis=0), 0.7, atol=0.05)
    return {name: truth.code_errors(bits, CASES, 100, seed=2) for name, bits in worlds.items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("world", ["fair", "leaning", "correlated"])
def test_exact_thresholds_hold_on_average_over_codes_whatever_the_bits_are_like(
    errors, world, case
):
    found = errors[world][0][case]
    assert found.exact <= case[1]
    assert found.realised.mean <= case[1] + 3 * found.realised.error
    assert found.realised.mean == pytest.approx(found.exact, abs=4 * found.realised.error)


def test_the_worst_user_shows_what_the_average_over_codes_hides(errors):
    worst = {world: found[1] for world, found in errors.items()}
    exact = errors["fair"][0][1, truth.WORST_RATE].exact
    assert worst["fair"] < 2 * truth.WORST_RATE
    assert worst["leaning"] > 3 * truth.WORST_RATE
    assert worst["correlated"] > 5 * truth.WORST_RATE
    assert worst["correlated"] > 20 * exact


@pytest.mark.parametrize("name", truth.LAWS)
@pytest.mark.parametrize(("n", "rate"), [(300, 1e-2), (398, 1e-2), (3000, 1e-3)])
def test_calibrated_thresholds_hold_on_average_and_waste_little_without_ties(name, n, rate):
    found = truth.calibrated_error(truth.LAWS[name], n, rate, 600, seed=3)
    assert found.mean <= rate + 3 * found.error
    if name != "count of 32 bits":
        assert found.mean >= 0.75 * rate - 3 * found.error


def by_roc_curve(negatives, positives, rate):
    labels = np.r_[np.zeros(len(negatives)), np.ones(len(positives))]
    fpr, tpr, _ = roc_curve(labels, np.r_[negatives, positives], drop_intermediate=False)
    return tpr[np.flatnonzero(fpr < rate)[-1]]


def test_strict_rule_is_what_others_read_off_a_roc_curve():
    rng = np.random.default_rng(4)
    for _ in range(20):
        low, high = rng.normal(size=1000), rng.normal(3, 1, 1000)
        ours = (high > truth.strict_rule(low, 1e-3)).mean()
        assert ours == by_roc_curve(low, high, 1e-3)


def test_strict_rule_on_a_thousand_negatives_reports_a_rate_that_nobody_can_rely_on():
    found = truth.claim(truth.strict_rule, 1000, 1e-3, 1500, seed=5)
    # The largest of n leaves Beta(1, n) of the law above it.
    assert found.fpr.low == pytest.approx(scipy_stats.beta(1, 1000).ppf(0.025), rel=0.5)
    assert found.fpr.high == pytest.approx(scipy_stats.beta(1, 1000).ppf(0.975), rel=0.15)
    assert found.fpr.low < 1e-4 < 3e-3 < found.fpr.high
    assert truth.true_tpr(1e-3) == pytest.approx(0.464, abs=1e-3)
    assert found.tpr.low < 0.2
    assert found.tpr.high > 0.6


def test_our_rule_says_that_a_thousand_negatives_do_not_support_a_thousandth():
    ours = partial(truth.claim, calibrated_threshold, false_rate=1e-3, repeats=200, seed=6)
    assert ours(1000) is None
    assert ours(2999) is None
    found = ours(10_000)
    assert found.fpr.mean <= 1e-3 + 3 * found.fpr.error
    assert found.fpr.high < 2e-3
    assert found.tpr.high - found.tpr.low < 0.2
