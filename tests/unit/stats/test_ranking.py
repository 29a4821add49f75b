import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fpbench.stats import (
    Sample,
    Standing,
    compare,
    compare_independent,
    holm,
    paired,
    ranks,
    rate,
)


def parts(values, trials=None):
    return {name: Sample(np.asarray(v, np.float64), trials) for name, v in values.items()}


def against(a, b, **more):
    return compare(parts(a), parts(b), **more)


def test_holm_equals_the_example_worked_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, and the last may not be below .06.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_holm_rejects_what_the_closed_test_of_bonferroni_rejects(p_values):
    indices = range(len(p_values))
    subsets = [s for r in indices for s in itertools.combinations(indices, r + 1)]
    closed = [
        max(min(1, len(s) * min(p_values[j] for j in s)) for s in subsets if i in s)
        for i in indices
    ]
    np.testing.assert_allclose(holm(p_values), closed)


def test_paired_agrees_with_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.6, 0.1, 9), rng.normal(0.5, 0.1, 9)
    expected = stats.ttest_rel(a, b)
    found = paired(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.df == expected.df
    assert found.difference / found.standard_error == pytest.approx(expected.statistic)


def test_paired_without_spread_decides_nothing():
    assert paired([0.3, 0.3], [0.1, 0.1]).p == 1
    assert paired([0.3, 0.2], [0.3, 0.2]).p == 1
    assert paired([0.1 + 0.2, 0.3], [0.3, 0.3]).p == 1


def test_paired_of_one_copy_decides_nothing():
    found = paired([0.9], [0.1])
    assert found.p == 1
    assert math.isnan(found.standard_error)


def test_compare_of_one_family_is_the_paired_test():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.6, 0.1, 9), rng.normal(0.5, 0.1, 9)
    expected = stats.ttest_rel(a, b)
    ends = expected.confidence_interval(0.9)
    found = against({"jpeg": a}, {"jpeg": b}, level=0.9)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_compare_of_families_on_the_same_copies_is_the_paired_test_of_their_means():
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 0.2, 12)
    a = {f: 0.6 + shared + rng.normal(0, 0.1, 12) for f in "xyz"}
    b = {f: rng.normal(0.5, 0.1, 12) for f in "xyz"}
    expected = stats.ttest_rel(np.mean(list(a.values()), 0), np.mean(list(b.values()), 0))
    ends = expected.confidence_interval(0.95)
    found = against(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_copies_that_resist_every_attack_do_not_make_the_test_too_keen():
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(400):
        resistance = rng.normal(0, 0.1, 30)
        a = {str(f): 0.5 + resistance[:n] + rng.normal(0, 0.1, n) for f, n in enumerate([30] * 5)}
        b = {str(f): 0.5 + rng.normal(0, 0.1, 30) for f in range(5)}
        rejected += against(a, b).p <= 0.05
    assert rejected / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_compare_changes_sign_with_the_order_of_the_methods():
    rng = np.random.default_rng(4)
    a, b = ({f: rng.random(5) for f in "xyz"} for _ in range(2))
    ab, ba = against(a, b), against(b, a)
    assert ab.p == pytest.approx(ba.p)
    assert (ab.difference, ab.low) == pytest.approx((-ba.difference, -ba.high))


def test_parts_with_partly_shared_copies_use_what_they_share():
    rng = np.random.default_rng(9)
    x, y = rng.normal(0.2, 0.1, 12), rng.normal(0.3, 0.1, 20)
    found = against({"x": x, "y": y}, {"x": 0 * x, "y": 0 * y})
    var_x, var_y = x.var(ddof=1) / 12, y.var(ddof=1) / 20
    covariance = np.cov(x, y[:12])[0, 1] * 12 / (12 * 20)
    df = (var_x + var_y) / (var_x / 11 + var_y / 19)
    error = math.sqrt(var_x + var_y + 2 * covariance) / 2
    assert found.df == pytest.approx(df)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / error, df))


@pytest.mark.parametrize("copies", [1, 2, 30])
def test_values_without_spread_and_without_counts_decide_nothing(copies):
    found = against({"x": [0.9] * copies}, {"x": [0.1] * copies})
    assert found.difference == pytest.approx(0.8)
    assert found.p == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_rates_without_spread_have_the_floor_of_both_sides():
    a, b = np.full(30, 1.0), np.full(30, 0.9)
    found = compare(parts({"x": a}, 18), parts({"x": b}, 18))
    # nobody failed in a; every copy of b has failures, so that less is assumed of it
    floors = 0.0
    for value, seen in ((1.0, 0), (0.9, 30)):
        shrunk = (540 * value + 1) / 542
        floors += shrunk * (1 - shrunk) * (1 + 17 * 0.15 * (1 - seen / 40)) / 540
    assert found.p == pytest.approx(2 * stats.t.sf(0.1 / math.sqrt(floors), 29))
    assert 0 < found.p < 0.01


def test_a_part_of_few_copies_counts_with_its_interval_and_not_its_spread():
    a, b = np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.95, 0.94, 0.95, 0.94])
    found = compare(parts({"x": a}, 128), parts({"x": b}, 128))
    assert paired(a, b).p < 0.001
    doubt = 0.0
    for side in (a, b):
        limits = rate(side * 128, [128] * 4)
        doubt += ((limits.high - limits.low) / 2 / 1.96) ** 2
    expected = 2 * stats.t.sf((a - b).mean() / math.sqrt(doubt), 3)
    assert found.p == pytest.approx(expected)
    assert found.p > 0.5


def test_copies_that_do_not_pair_are_compared_by_welch():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.6, 0.1, 12), rng.normal(0.5, 0.2, 20)
    expected = stats.ttest_ind(a, b, equal_var=False)
    found = compare_independent(parts({"x": a}), parts({"x": b}))
    assert (found.p, found.df) == (pytest.approx(expected.pvalue), pytest.approx(expected.df))


@pytest.mark.parametrize("sizes", [(12,), (12, 12, 12), (10, 25)])
def test_equal_methods_differ_no_more_often_than_the_level(sizes):
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(600):
        a, b = ({str(i): rng.normal(0.5, 0.1, n) for i, n in enumerate(sizes)} for _ in range(2))
        rejected += against(a, b).p <= 0.05
    assert rejected / 600 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def standing(trainings, copies, *, trains=True):
    return Standing(tuple(trainings), parts({"x": copies}), trains)


def test_three_trainings_are_compared_by_the_pooled_rule():
    rng = np.random.default_rng(6)
    noise = {name: rng.normal(0, 0.02, 20) for name in "abc"}
    trainings = {"a": (0.60, 0.62, 0.61), "b": (0.55, 0.50, 0.52), "c": (0.58, 0.54, 0.56, 0.6)}
    methods = {
        name: standing(ys, np.mean(ys) + noise[name] - noise[name].mean())
        for name, ys in trainings.items()
    }
    variances = {n: np.var(ys, ddof=1) for n, ys in trainings.items()}
    nu = 2 + 2 + 3
    pooled = (2 * variances["a"] + 2 * variances["b"] + 3 * variances["c"]) / nu
    p_values = {}
    for a, b in itertools.combinations("abc", 2):
        (s_a, s_b) = len(trainings[a]), len(trainings[b])
        own = variances[a] / s_a + variances[b] / s_b
        copies = (noise[a] - noise[b]).var(ddof=1) / 20
        error = math.sqrt(max(pooled * (1 / s_a + 1 / s_b), own) + copies)
        t = (np.mean(trainings[a]) - np.mean(trainings[b])) / error
        p_values[a, b] = 2 * stats.t.sf(abs(t), nu)
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    found = ranks(methods)
    for (a, b), p in adjusted.items():
        assert (b in found[a].ties) == (p > 0.05), (a, b)
    half = stats.t.ppf(0.975, nu) * math.sqrt(
        max(pooled, variances["a"]) / 3 + noise["a"].var(ddof=1) / 20
    )
    assert found["a"].high - found["a"].low == pytest.approx(2 * half)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_trainings_have_no_rank_and_are_in_no_test(count):
    rng = np.random.default_rng(7)
    methods = {n: standing([0.9] * 3 + [0.91], 0.9 + rng.normal(0, 0.01, 20)) for n in "ab"}
    alone = ranks(methods)
    found = ranks({**methods, "new": standing([0.1] * count, np.full(20, 0.1))})
    assert found["new"].rank is None
    assert found["new"].reason == ("1 training" if count == 1 else "2 trainings")
    assert {n: found[n] for n in "ab"} == alone


def test_what_trains_nothing_is_ranked_after_one_run_and_has_no_part_in_the_variance():
    rng = np.random.default_rng(8)
    base = {n: 0.5 + rng.normal(0, 0.01, 30) for n in "abc"}
    fixed = standing([0.5], base["a"], trains=False)
    other = standing([0.3], base["b"] - 0.2, trains=False)
    found = ranks({"fixed": fixed, "other": other})
    assert (found["fixed"].rank, found["other"].rank) == (1, 2)
    trained = standing([0.45, 0.5, 0.4], base["c"] - 0.05)
    both = ranks({"fixed": fixed, "trained": trained})
    spread = np.var([0.45, 0.5, 0.4], ddof=1)
    error = math.sqrt(spread / 3 + (base["a"] - base["c"] + 0.05).var(ddof=1) / 30)
    p = 2 * stats.t.sf(0.05 / error, 2)
    assert ("trained" in both["fixed"].ties) == (p > 0.05)


def test_equal_copies_and_equal_trainings_give_no_certainty():
    methods = {
        "a": standing([0.9] * 3, np.full(20, 0.9)),
        "b": standing([0.8] * 3, np.full(20, 0.8)),
    }
    assert {r.rank for r in ranks(methods).values()} == {1}


def test_rank_counts_better_methods_and_not_better_places():
    rng = np.random.default_rng(9)
    methods = {
        name: standing([value] * 3, value + rng.normal(0, 0.01, 20))
        for name, value in zip("abcd", (0.9, 0.6, 0.6, 0.2), strict=True)
    }
    assert [(n, r.rank) for n, r in ranks(methods).items()] == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
        ("d", 4),
    ]


def test_ranks_of_one_method_and_of_none():
    assert ranks({}) == {}
    assert ranks({"only": standing([0.1, 0.2, 0.3], [0.2] * 12)})["only"].rank == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: holm([0.1, math.nan]),
        lambda: holm([1.1]),
        lambda: paired([], []),
        lambda: paired([1.0], [1.0, 2.0]),
        lambda: paired([math.nan], [1.0]),
        lambda: compare({}, {}),
        lambda: against({"x": [1.0]}, {"y": [1.0]}),
        lambda: against({"x": [1.0]}, {"x": [1.0, 2.0]}),
        lambda: ranks(
            {
                "a": Standing((1.0,) * 3, parts({"x": [1.0]})),
                "b": Standing((1.0,) * 3, parts({"y": [1.0]})),
            }
        ),
        lambda: ranks({}, level=0.0),
    ],
)
def test_values_that_cannot_be_paired_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()
