import itertools
import math
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from fpbench.stats import (
    capacity,
    largest_supported,
    log_any_tail,
    log_tail,
    supports,
    survives,
    threshold,
)

# methods.md section 8.5, one candidate: bits -> {false rate: matching bits}.
SINGLE = {
    16: {1e-2: 14, 1e-3: 15, 1e-6: None},
    32: {1e-2: 24, 1e-3: 26, 1e-6: 30, 1e-9: 32},
    48: {1e-2: 33, 1e-3: 36, 1e-6: 41, 1e-9: 44},
    64: {1e-2: 42, 1e-3: 45, 1e-6: 51, 1e-9: 56},
    128: {1e-2: 78, 1e-3: 82, 1e-6: 92, 1e-9: 98},
}
# The same section, 1e-3 in total: bits -> {users: matching bits}.
FAMILY = {
    32: {10**2: 28, 10**4: 31, 10**6: 32},
    48: {10**2: 39, 10**4: 42, 10**6: 44},
    64: {10**2: 50, 10**4: 53, 10**6: 56},
    128: {10**2: 89, 10**4: 94, 10**6: 98},
}
# landscape.md section 8, with Bonferroni: bits -> matching bits at the columns below.
COLUMNS = [(1, 1e-3), (1, 1e-6), (10**3, 1e-3), (10**6, 1e-3), (10**6, 1e-6), (10**9, 1e-6)]
LANDSCAPE = {
    32: [26, 30, 30, 32, None, None],
    48: [36, 41, 41, 44, 47, None],
    64: [45, 51, 51, 56, 59, 62],
    100: [66, 74, 74, 80, 85, 88],
    128: [82, 92, 92, 98, 103, 108],
    256: [154, 167, 167, 176, 184, 191],
}
PUBLISHED = (
    [(bits, 1, rate, t) for bits, row in SINGLE.items() for rate, t in row.items()]
    + [(bits, n, 1e-3, t) for bits, row in FAMILY.items() for n, t in row.items()]
    + [
        (bits, n, rate, t)
        for bits, row in LANDSCAPE.items()
        for (n, rate), t in zip(COLUMNS, row, strict=True)
    ]
)


def exact_tail(bits, at_least):
    return Fraction(sum(math.comb(bits, i) for i in range(max(at_least, 0), bits + 1)), 2**bits)


def decimal_log(number):
    with localcontext(prec=60):
        return float((Decimal(number.numerator) / Decimal(number.denominator)).ln())


def test_tail_counts_the_readings_of_an_enumeration():
    for bits in range(1, 11):
        sums = [sum(word) for word in itertools.product((0, 1), repeat=bits)]
        shares = [np.mean(np.array(sums) >= s) for s in range(bits + 2)]
        np.testing.assert_allclose(np.exp(log_tail(bits, np.arange(bits + 2))), shares, rtol=1e-14)


@pytest.mark.parametrize("bits", [48, 256, 1000, 1100, 4096])
def test_tail_equals_sixty_digit_arithmetic(bits):
    counts = list(itertools.accumulate(math.comb(bits, i) for i in range(bits + 1)))
    picks = np.unique(np.linspace(1, bits, 25).astype(int))
    # Symmetry: as many words have at least s ones as have at most K - s.
    expected = [decimal_log(Fraction(counts[bits - s], 2**bits)) for s in picks]
    # Sixty digits cannot tell tails that are nearer than 1e-45 from certain ones.
    np.testing.assert_allclose(log_tail(bits, picks), expected, rtol=1e-13, atol=1e-45)


@pytest.mark.parametrize("bits", [16, 64, 300])
def test_tail_agrees_with_scipy(bits):
    s = np.arange(bits + 1)
    np.testing.assert_allclose(np.exp(log_tail(bits, s)), binom.sf(s - 1, bits, 0.5), rtol=1e-10)


def test_tail_is_certain_below_one_and_impossible_above_all_bits():
    np.testing.assert_array_equal(
        log_tail(8, np.array([[-3, 0], [9, 12]])), [[0.0, 0.0], [-np.inf, -np.inf]]
    )


@pytest.mark.parametrize("candidates", [1, 2, 7, 50])
def test_any_tail_equals_fractions(candidates):
    for bits in (3, 12, 40):
        exact = [1 - (1 - exact_tail(bits, s)) ** candidates for s in range(1, bits + 1)]
        expected = [decimal_log(x) for x in exact]
        found = log_any_tail(bits, np.arange(1, bits + 1), candidates)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-45)


def test_any_tail_keeps_its_digits_for_a_billion_candidates():
    exact = exact_tail(256, 200)
    expected = math.log(exact) + math.log(10**9)
    assert float(log_any_tail(256, 200, 10**9)) == pytest.approx(expected, rel=1e-12)


def test_any_tail_does_not_underflow_at_four_thousand_bits():
    expected = -4096 * math.log(2) + math.log(10**9)
    assert float(log_any_tail(4096, 4096, 10**9)) == pytest.approx(expected, rel=1e-14)


def test_any_tail_of_no_candidates_is_impossible():
    np.testing.assert_array_equal(log_any_tail(8, np.array([0, 4, 9]), 0), [-np.inf] * 3)


@pytest.mark.parametrize(("bits", "candidates", "false_rate", "expected"), PUBLISHED)
def test_threshold_equals_the_published_tables(bits, candidates, false_rate, expected):
    assert threshold(bits, false_rate, candidates) == expected


@given(
    bits=st.integers(1, 24),
    candidates=st.integers(1, 40),
    rate=st.one_of(st.floats(1e-8, 0.99), st.integers(1, 20).map(lambda k: 2.0**-k)),
)
@settings(max_examples=150, deadline=None)
def test_threshold_is_the_smallest_that_exact_arithmetic_admits(bits, candidates, rate):
    alpha = Fraction(rate)
    admitted = [t for t in range(bits + 1) if 1 - (1 - exact_tail(bits, t)) ** candidates <= alpha]
    assert threshold(bits, rate, candidates) == min(admitted, default=None)


@given(
    bits=st.integers(1, 300),
    candidates=st.integers(1, 10**9),
    rates=st.tuples(st.floats(1e-12, 0.5), st.floats(1e-12, 0.5)),
)
@settings(max_examples=150, deadline=None)
def test_threshold_never_falls_when_the_false_rate_falls_or_users_are_added(
    bits, candidates, rates
):
    impossible = bits + 1
    strict, loose = (threshold(bits, rate, candidates) or impossible for rate in sorted(rates))
    more = threshold(bits, max(rates), 2 * candidates) or impossible
    assert strict >= loose
    assert more >= loose


def test_median_best_match_of_a_random_reading_is_the_published_one():
    for bits, published in ((32, 25), (64, 45), (128, 82)):
        reached = np.exp(log_any_tail(bits, np.arange(bits + 1), 1000)) >= 0.5
        assert np.flatnonzero(reached).max() == published


def test_survival_equals_fractions_and_is_certain_without_distractors():
    exact = [float((1 - exact_tail(20, s)) ** 97) for s in range(22)]
    np.testing.assert_allclose(survives(20, np.arange(22), 97), exact, rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(survives(20, np.arange(22), 0), np.ones(22))


def test_survival_agrees_with_drawn_codes():
    rng = np.random.default_rng(0)
    reading = rng.integers(0, 2, 10)
    drawn = (rng.integers(0, 2, (20_000, 6, 10)) == reading).sum(axis=2).max(axis=1)
    expected = survives(10, np.arange(11), 6)
    found = (drawn[:, None] < np.arange(11)).mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=5 * 0.5 / np.sqrt(20_000))


def test_support_ends_at_an_eighth_of_the_codes_or_without_a_threshold():
    assert supports(16, 2**13, 0.2)
    assert not supports(16, 2**13 + 1, 0.2)
    assert not supports(16, 100, 1e-3)
    assert supports(16, 30, 1e-2)


def test_largest_supported_is_a_member_of_the_grid_or_none():
    assert largest_supported(48, 1e-6, [10**6, 10**2, 10**9, 10**4]) == 10**6
    assert largest_supported(8, 1e-6, [10, 100]) is None
    assert largest_supported(8, 1e-6, []) is None


def test_capacity_is_all_bits_without_errors_and_none_at_chance():
    assert capacity(48, 0.0) == 48
    assert capacity(48, 0.5) == 0
    assert capacity(100, 0.11) == pytest.approx(50.0, abs=0.1)
    assert capacity(10, 0.2) == pytest.approx(capacity(10, 0.8))


@pytest.mark.parametrize(
    "call",
    [
        lambda: log_tail(0, 1),
        lambda: log_tail(8, 1.5),
        lambda: log_any_tail(8, 4, -1),
        lambda: threshold(8, 0.0),
        lambda: threshold(8, 1.0),
        lambda: threshold(8, 0.1, 0),
        lambda: capacity(8, 1.1),
    ],
)
def test_arguments_out_of_range_are_refused_with_what_was_expected(call):
    with pytest.raises(ValueError, match="expected"):
        call()
