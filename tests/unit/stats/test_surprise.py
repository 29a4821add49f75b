import math

import numpy as np
import pytest

from fpbench import stats

BITS, USERS, IMAGES, REGISTERED, FALSE_RATE = 24, 6, 400, 50, 0.05


@pytest.fixture
def both():
    rng = np.random.default_rng(3)
    codes = rng.random((USERS, BITS)) < 0.5
    owners = rng.integers(0, USERS, IMAGES)
    readings = codes[owners] ^ (rng.random((IMAGES, BITS)) < rng.random((IMAGES, 1)) / 2)
    matching = stats.Matching(readings, codes, owners, USERS - 2)
    tails = stats.log_tail(BITS, stats.matches(readings, codes))
    return stats.Surprise(tails, owners, USERS - 2), matching


def test_it_answers_what_equal_bits_answer(both):
    surprise, matching = both
    assert surprise.shape == matching.shape
    tail = np.append(-stats.log_tail(BITS, np.arange(BITS + 1)), -np.inf)  # the last of nobody
    for name in ("own", "best", "other", "other_issued"):
        np.testing.assert_array_equal(getattr(surprise, name), tail[getattr(matching, name)])
    np.testing.assert_array_equal(surprise.foreign, matching.foreign)
    for t in (BITS, 17, 12):
        found, expected = surprise.hits(tail[t]), matching.hits(t)
        np.testing.assert_array_equal(found.by_image, expected.by_image)
        np.testing.assert_array_equal(found.by_code, expected.by_code)
    np.testing.assert_array_equal(
        stats.closed_set(surprise, None), stats.closed_set(matching, None)
    )


def test_decisions_are_those_of_equal_bits_with_innocents_counted_from_above(both):
    asked = (BITS, REGISTERED, FALSE_RATE)
    found, expected = (stats.open_set(m, None, *asked) for m in both)
    assert 0 < expected.none.mean() < 0.9
    assert expected.right.mean() > 0.1
    np.testing.assert_allclose(found.right, expected.right, rtol=1e-12)
    np.testing.assert_allclose(found.right + found.wrong + found.none, 1)
    np.testing.assert_array_equal(found.none > 0, expected.none > 0)
    p = -math.expm1(math.log1p(-FALSE_RATE) / REGISTERED)
    for decide, spare in ((stats.accused, 0), (stats.detection, 0), (stats.unregistered, 1)):
        owners = (None,) if decide is stats.unregistered else ()
        found, expected = (decide(m, *owners, *asked) for m in both)
        nobody = 1 - (1 - p) ** (REGISTERED - USERS + spare)
        np.testing.assert_allclose(found, np.where(expected == 1, 1, nobody), rtol=1e-9)
        assert (found >= expected).all()
    for rate in (1e-2, 1e-3):
        for decide in (stats.verification, stats.false_verification):
            np.testing.assert_array_equal(*(decide(m, None, BITS, rate) for m in both))


def test_nobody_else_is_below_everybody():
    alone = stats.Surprise(np.zeros((2, 1)), [0, 0])
    assert (alone.other == -np.inf).all()
    assert stats.closed_set(alone, None).all()


def test_coalitions_are_those_of_equal_bits():
    rng = np.random.default_rng(4)
    codes = rng.random((USERS, BITS)) < 0.5
    members = np.tile([0, 1], (IMAGES, 1))
    readings = np.where(rng.random((IMAGES, BITS)) < 0.5, codes[0], codes[1])
    match = stats.matches(readings, codes)
    surprise = stats.Surprise(stats.log_tail(BITS, match))
    found, expected = (
        stats.collusion(m, members, BITS, USERS, FALSE_RATE) for m in (surprise, match)
    )
    for name in ("traced", "traced_and_framed", "framed", "lost"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name))
    assert expected.traced.mean() > 0.2


@pytest.mark.parametrize("candidates", [1, 10, 10**6])
def test_the_threshold_is_met_by_a_tail_that_equals_the_rate(candidates):
    p = 1 - (1 - 1e-3) ** (1 / candidates)
    t = stats.surprise_threshold(1e-3, candidates)
    assert math.exp(-t) == pytest.approx(p, rel=1e-6)
    assert 1 - stats.unsurpassed(t, candidates) == pytest.approx(1e-3, rel=1e-9)
    assert stats.unsurpassed(np.inf, 10**9) == 1
    exact = stats.threshold(20, 2**-20)
    assert -stats.log_tail(20, exact) >= stats.surprise_threshold(2**-20)


def test_what_does_not_fit_is_refused():
    for tails in (np.zeros(3), np.zeros((3, 0)), np.ones((2, 2)), np.full((2, 2), np.nan)):
        with pytest.raises(ValueError, match="expected"):
            stats.Surprise(tails)
    with pytest.raises(ValueError, match="expected owners"):
        stats.Surprise(np.zeros((2, 3)), [0, 3])
    with pytest.raises(ValueError, match="readings of nobody"):
        _ = stats.Surprise(np.zeros((2, 3))).own
    with pytest.raises(ValueError, match="surprise_threshold"):
        stats.surprise_threshold(0.0)
