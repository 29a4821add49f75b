import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fpbench.stats import compare, holm, paired, ranks


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


def test_paired_without_spread_is_certain_either_way():
    assert paired([0.3, 0.3], [0.1, 0.1]).p == 0
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
    found = compare({"jpeg": a}, {"jpeg": b}, level=0.9)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_compare_of_families_on_the_same_copies_is_the_paired_test_of_their_means():
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 0.2, 12)
    a = {f: 0.6 + shared + rng.normal(0, 0.1, 12) for f in "xyz"}
    b = {f: rng.normal(0.5, 0.1, 12) for f in "xyz"}
    expected = stats.ttest_rel(np.mean(list(a.values()), 0), np.mean(list(b.values()), 0))
    ends = expected.confidence_interval(0.95)
    found = compare(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))


def test_copies_that_resist_every_attack_do_not_make_the_test_too_keen():
    rng = np.random.default_rng(8)
    rejected = 0
    for _ in range(400):
        resistance = rng.normal(0, 0.1, 30)
        a = {str(f): 0.5 + resistance[:n] + rng.normal(0, 0.1, n) for f, n in enumerate([30] * 5)}
        b = {str(f): 0.5 + rng.normal(0, 0.1, 30) for f in range(5)}
        rejected += compare(a, b).p <= 0.05
    assert rejected / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_compare_changes_sign_with_the_order_of_the_methods():
    rng = np.random.default_rng(4)
    a, b = ({f: rng.random(5) for f in "xyz"} for _ in range(2))
    ab, ba = compare(a, b), compare(b, a)
    assert ab.p == pytest.approx(ba.p)
    assert (ab.difference, ab.low) == pytest.approx((-ba.difference, -ba.high))


def test_family_with_one_copy_borrows_the_largest_variance_and_no_degrees_of_freedom():
    differences = {"x": np.array([0.1, 0.3]), "y": np.array([0.1, 0.2, 0.3]), "z": np.array([0.2])}
    found = compare(differences, {f: 0 * d for f, d in differences.items()})
    x, y, z = 0.02 / 2, 0.01 / 3, 0.02
    covariance = np.cov([0.1, 0.3], [0.1, 0.2])[0, 1] * 2 / (2 * 3)
    assert found.df == pytest.approx((x + y) / (x / 1 + y / 2))
    error = math.sqrt(x + y + 2 * covariance + z) / 3
    assert found.p == pytest.approx(2 * stats.t.sf(0.2 / error, found.df))


def test_families_with_one_copy_each_decide_nothing():
    found = compare({"x": [0.9], "y": [0.8]}, {"x": [0.1], "y": [0.1]})
    assert found.difference == pytest.approx(0.75)
    assert found.p == 1
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_differences_without_spread_are_certain_either_way():
    same = compare({"x": [0.1 + 0.2, 0.3]}, {"x": [0.3, 0.3]})
    other = compare({"x": [0.5, 0.5], "y": [0.2, 0.4]}, {"x": [0.3, 0.3], "y": [0.1, 0.3]})
    cancelled = compare({"x": [0.4, 0.4], "y": [0.3, 0.3]}, {"x": [0.3, 0.3], "y": [0.4, 0.4]})
    assert (same.difference, same.p) == (0, 1)
    assert other.p == 0
    assert other.low == other.high == pytest.approx(0.15)
    assert (cancelled.difference, cancelled.p) == (0, 1)


def test_constant_differences_in_several_families_are_certain_and_no_crash():
    a = {f: np.full(30, 0.35 + 0.1 * k) for k, f in enumerate("xyz")}
    found = compare(a, {f: np.zeros(30) for f in a})
    assert found.p == 0
    assert found.low == found.high == pytest.approx(0.45)


@pytest.mark.parametrize("sizes", [(8,), (8, 8, 8), (3, 10, 25), (10, 1), (2, 1, 10)])
def test_equal_methods_differ_no_more_often_than_the_level(sizes):
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(600):
        a, b = ({str(i): rng.normal(0.5, 0.1, n) for i, n in enumerate(sizes)} for _ in range(2))
        rejected += compare(a, b).p <= 0.05
    assert rejected / 600 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_ranks_put_the_better_first_and_tie_what_cannot_be_told_apart():
    rng = np.random.default_rng(6)
    base = {"jpeg": rng.normal(0.5, 0.02, 20), "noise": rng.normal(0.4, 0.02, 20)}
    wobble = rng.normal(0, 0.02, 20)
    scores = {
        "twin": {f: v + wobble - wobble.mean() for f, v in base.items()},
        "base": base,
        "best": {f: v + 0.3 + wobble for f, v in base.items()},
    }
    found = ranks(scores)
    assert next(iter(found)) == "best"
    assert [found[name].rank for name in ("best", "base", "twin")] == [1, 2, 2]
    assert found["best"].ties == ()
    assert found["base"].ties == ("twin",)
    assert found["base"].score == pytest.approx(np.mean([v.mean() for v in base.values()]))


def test_rank_counts_better_methods_and_not_better_places():
    flat = {"x": np.zeros(4)}
    scores = {
        name: {"x": flat["x"] + value} for name, value in zip("abcd", (3, 2, 2, 1), strict=True)
    }
    assert [(n, r.rank) for n, r in ranks(scores).items()] == [
        ("a", 1),
        ("b", 2),
        ("c", 2),
        ("d", 4),
    ]


def test_ranks_of_one_method_and_of_none():
    assert ranks({}) == {}
    assert ranks({"only": {"x": [1.0, 2.0]}})["only"].rank == 1


def test_holm_over_all_pairs_makes_ties_of_lone_small_p_values():
    rng = np.random.default_rng(7)
    base = rng.normal(0.5, 0.1, 12)
    noise = rng.normal(0, 0.05, 12)
    noise += 0.037 - noise.mean()
    two = {"a": {"x": base + noise}, "b": {"x": base}}
    assert 0.01 < compare(two["a"], two["b"]).p < 0.05
    assert ranks(two)["b"].rank == 2
    others = {f"m{i}": {"x": base + rng.normal(0, 0.4, 12)} for i in range(4)}
    assert "b" in ranks({**two, **others})["a"].ties


@pytest.mark.parametrize(
    "call",
    [
        lambda: holm([0.1, math.nan]),
        lambda: holm([1.1]),
        lambda: paired([], []),
        lambda: paired([1.0], [1.0, 2.0]),
        lambda: paired([math.nan], [1.0]),
        lambda: compare({}, {}),
        lambda: compare({"x": [1.0]}, {"y": [1.0]}),
        lambda: compare({"x": [1.0]}, {"x": [1.0, 2.0]}),
        lambda: ranks({"a": {"x": [1.0]}, "b": {"y": [1.0]}}),
        lambda: ranks({}, level=0.0),
    ],
)
def test_values_that_cannot_be_paired_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()
